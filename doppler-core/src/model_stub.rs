//! temporary
use doppler_rdrr::Error;
#[derive(Debug)]
pub struct Model;
pub struct Entry;
impl Model { pub fn tensor(&self, _: &str) -> Result<&Entry, Error> { Err(Error::UnknownDType{name: String::new()}) }
 pub fn spans<'a>(&'a self, _: &Entry) -> impl Iterator<Item=&'a [u8]> { std::iter::empty() } }
