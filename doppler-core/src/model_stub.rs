//! temporary
use doppler_rdrr::Error;
#[derive(Debug)]
pub struct Model;
pub struct TensorEntry;
impl Model { pub fn tensor(&self, _: &str) -> Result<&TensorEntry, Error> { Err(Error::UnknownDType{name: String::new()}) }
 pub fn spans<'a>(&'a self, _: &TensorEntry) -> impl Iterator<Item=&'a [u8]> { std::iter::empty() } }
/// x
#[derive(Debug)]
pub struct MemoryPlan;
impl std::fmt::Display for MemoryPlan { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("") } }
