//! Test and bench cases: a kernel at fixed sizes with the bytes of its inputs, and how near a result must come.

use doppler_rdrr::DType;

use crate::{Access, Instructions, Kernel};

/// A kernel's place in [`crate::KERNELS`].
#[derive(Debug)]
pub struct Entry {
    /// The kernel's name.
    pub name: &'static str,
    /// The ugly shapes: one, primes, around the workgroup size, the largest.
    pub edge_cases: fn() -> Vec<Case>,
    /// Random shapes and values.
    #[cfg(feature = "testing")]
    pub strategy: fn() -> proptest::strategy::BoxedStrategy<Case>,
}

/// A kernel with its inputs.
#[derive(Debug)]
pub struct Case {
    /// What the shape is for.
    pub label: &'static str,
    /// The kernel at its sizes.
    pub kernel: Box<dyn Kernel>,
    /// The bytes of each operand with [`Access::Read`] or [`Access::ReadWrite`], in operand order.
    pub inputs: Vec<Vec<u8>>,
    /// How near every variant must come to the reference.
    pub tolerance: Tolerance,
}

fn slices(numbers: &[Vec<f32>]) -> Vec<&[f32]> {
    numbers.iter().map(Vec::as_slice).collect()
}

/// Each element must be within `atol + rtol · |reference|`, and the whole tensor's normalised mean square error (error
/// energy over reference energy) within `nmse`. NaN never passes; infinities must agree in sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f64,
    /// Relative part.
    pub rtol: f64,
    /// Of the whole tensor.
    pub nmse: f64,
}

impl Tolerance {
    /// For f32 arithmetic over a few thousand terms.
    pub const F32: Tolerance = Tolerance { atol: 1e-4, rtol: 1e-4, nmse: 1e-9 };
    /// For results stored as f16.
    pub const F16: Tolerance = Tolerance { atol: 1e-3, rtol: 2e-3, nmse: 1e-6 };
    /// For integers and copies.
    pub const EXACT: Tolerance = Tolerance { atol: 0.0, rtol: 0.0, nmse: 0.0 };
}

impl Case {
    /// A case without inputs yet.
    #[must_use]
    pub fn new(label: &'static str, kernel: Box<dyn Kernel>, tolerance: Tolerance) -> Case {
        Case { label, kernel, inputs: Vec::new(), tolerance }
    }

    /// Adds the next input as bytes in the operand's dtype.
    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Case {
        self.inputs.push(bytes);
        self
    }

    /// Adds the next input as f32.
    #[must_use]
    pub fn input_f32(self, values: &[f32]) -> Case {
        self.input(bytemuck::cast_slice(values).to_vec())
    }

    /// Adds the next input as u32.
    #[must_use]
    pub fn input_u32(self, values: &[u32]) -> Case {
        self.input(bytemuck::cast_slice(values).to_vec())
    }

    /// Adds the next input as f16.
    #[must_use]
    pub fn input_f16(self, values: &[f32]) -> Case {
        self.input(values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect())
    }

    /// Adds the next input as rows of int8 activations.
    #[must_use]
    pub fn input_a8(self, values: &[f32], cols: usize) -> Case {
        self.input(crate::quantize::rows(values, cols))
    }

    /// Adds the next input as a key-value cache of `kv`, in heads of `head_dim`.
    #[must_use]
    pub(crate) fn input_cache(self, kv: DType, values: &[f32], head_dim: usize) -> Case {
        match kv {
            DType::F16 => self.input_f16(values),
            DType::C8 => self.input(crate::quantize::cache_rows(values, head_dim)),
            _ => self.input_f32(values),
        }
    }

    /// What the reference gives, one vector for each written operand.
    #[must_use]
    pub fn expected(&self) -> Vec<Vec<f32>> {
        self.kernel.reference(&slices(&self.numbers()))
    }

    /// What the reference of the int8 form gives.
    #[must_use]
    pub fn expected_int8(&self) -> Vec<Vec<f32>> {
        self.kernel.reference_int8(&slices(&self.numbers()))
    }

    fn numbers(&self) -> Vec<Vec<f32>> {
        let operands = self.kernel.operands();
        let read = operands.iter().filter(|o| o.access.has_input());
        read.zip(&self.inputs)
            .map(|(operand, bytes)| operand.numbers(bytes).expect("a case's inputs have their operands' sizes"))
            .collect()
    }

    /// Runs [`Kernel::host`] on the inputs; one vector of bytes for each written operand.
    #[must_use]
    pub fn run_host(&self) -> Vec<Vec<u8>> {
        self.run(|reads, writes| self.kernel.host(reads, writes))
    }

    /// The same of [`Kernel::host_int8`].
    #[must_use]
    pub fn run_host_int8(&self, instructions: Instructions) -> Vec<Vec<u8>> {
        self.run(|reads, writes| self.kernel.host_int8(instructions, reads, writes))
    }

    fn run(&self, kernel: impl Fn(&[&[u8]], &mut [&mut [u8]])) -> Vec<Vec<u8>> {
        let mut inputs = self.inputs.iter();
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for operand in self.kernel.operands() {
            // u32 storage keeps the 4-byte alignment that `host` is promised.
            let mut words = vec![0xFFu8; operand.bytes().next_multiple_of(4)];
            if operand.access.has_input() {
                let bytes = inputs.next().expect("a case has one input for each operand that is read");
                words[..bytes.len()].copy_from_slice(bytes);
            }
            let words: Vec<u32> = words.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
            if operand.access == Access::Read { &mut reads } else { &mut writes }.push((words, operand.bytes()));
        }
        let read_bytes: Vec<&[u8]> = reads.iter().map(|(w, n)| &bytemuck::cast_slice(w)[..*n]).collect();
        let mut write_bytes: Vec<&mut [u8]> =
            writes.iter_mut().map(|(w, n)| &mut bytemuck::cast_slice_mut(w)[..*n]).collect();
        kernel(&read_bytes, &mut write_bytes);
        write_bytes.iter().map(|bytes| bytes.to_vec()).collect()
    }

    /// Compares the bytes of the written operands with the reference; the worst miss, in words, when there is one.
    ///
    /// # Errors
    /// The operand, the element, what it is and what it should be.
    pub fn check(&self, actual: &[Vec<u8>], expected: &[Vec<f32>]) -> Result<(), String> {
        let operands = self.kernel.operands();
        let written: Vec<_> = operands.iter().filter(|o| o.access != Access::Read).collect();
        if written.len() != actual.len() || written.len() != expected.len() {
            return Err(format!("{} outputs, {} expected", actual.len(), expected.len()));
        }
        for ((operand, actual), expected) in written.iter().zip(actual).zip(expected) {
            if operand.access == Access::Scratch {
                continue;
            }
            let values = operand.numbers(actual).map_err(|e| format!("{}: {e}", operand.name))?;
            let checked = match operand.dtype {
                DType::A8 => self.tolerance.check_quantized(&values, expected, 0.501),
                // The reference has rounded too: where a value lies between two quants, to the other one perhaps.
                DType::C8 => self.tolerance.check_quantized(&values, expected, 1.01),
                _ => self.tolerance.check(&values, expected),
            };
            let sums = if operand.dtype == DType::A8 { check_sums(actual, operand.cols()) } else { Ok(()) };
            checked.and(sums).map_err(|miss| format!("{}: {miss}", operand.name))?;
        }
        Ok(())
    }
}

/// Whether rows of `cols` int8 activations say what the halves of their blocks sum up to: no number shows it.
fn check_sums(rows: &[u8], cols: usize) -> Result<(), String> {
    for (r, row) in rows.chunks_exact(cols / 64 * DType::A8.block_bytes()).enumerate() {
        let (quants, infos) = row.split_at(cols);
        for h in 0..cols / 16 {
            let half = &quants[16 * (h % 4 * (cols / 64) + h / 4)..][..16];
            let at = h / 2 * 8 + 4 + h % 2 * 2;
            let (sum, said) =
                (half.iter().map(|q| i16::from(*q as i8)).sum::<i16>(), i16::from_le_bytes([infos[at], infos[at + 1]]));
            if sum != said {
                return Err(format!("row {r}, sixteen {h} sums up to {sum}, not {said}"));
            }
        }
    }
    Ok(())
}

impl Tolerance {
    /// Compares element by element and as a whole.
    ///
    /// # Errors
    /// The first element that misses, or the error of the whole.
    pub fn check(&self, actual: &[f32], expected: &[f32]) -> Result<(), String> {
        if actual.len() != expected.len() {
            return Err(format!("{} elements, {} expected", actual.len(), expected.len()));
        }
        let (mut error, mut energy) = (0.0f64, 0.0f64);
        for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
            let (a, e) = (f64::from(a), f64::from(e));
            if e.is_infinite() && a == e {
                continue;
            }
            let miss = (a - e).abs();
            if miss.is_nan() || miss > self.atol + self.rtol * e.abs() {
                return Err(format!("element {i} is {a}, expected {e} (off by {miss:.3e})"));
            }
            error += miss * miss;
            energy += e * e;
        }
        if error > self.nmse * energy.max(self.atol * self.atol * actual.len() as f64) && error > 0.0 {
            return Err(format!("normalised error {:.3e} above {:.3e}", error / energy, self.nmse));
        }
        Ok(())
    }
}

impl Tolerance {
    /// [`Tolerance::check`] of blocks of 32 int8: besides the tolerance, an element may be some steps of its block off.
    fn check_quantized(&self, actual: &[f32], expected: &[f32], steps: f64) -> Result<(), String> {
        for (i, (actual, expected)) in actual.chunks(32).zip(expected.chunks(32)).enumerate() {
            let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            let off = f64::from(largest) / 127.0 * steps;
            let within = Tolerance { atol: self.atol + off, nmse: 1e-3, ..*self };
            within.check(actual, expected).map_err(|miss| format!("block {i}: {miss}"))?;
        }
        Ok(())
    }
}

/// A stream of well-mixed 64-bit numbers (SplitMix64), the same on every machine.
pub fn random_bits(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    })
}

/// `len` values in −1 … 1, more of them near zero.
#[must_use]
pub fn random_f32(len: usize, seed: u64) -> Vec<f32> {
    let unit = |bits: u64| (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    random_bits(seed).take(len).map(|bits| unit(bits) * unit(bits << 24).abs()).collect()
}

/// `len` elements of random weights in any format: random quants under scales of a realistic size.
#[must_use]
pub fn random_weights(dtype: DType, len: usize, seed: u64) -> Vec<u8> {
    let float = |i: usize, bytes: &mut [u8], scale: f32| {
        let value = scale * (1.0 + random_f32(1, seed ^ i as u64)[0].abs());
        bytes.copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
    };
    let size = dtype.tensor_bytes(&[len]).expect("random weights are whole blocks");
    match dtype {
        DType::F32 => return bytemuck::cast_slice(&random_f32(len, seed)).to_vec(),
        DType::F16 => {
            return random_f32(len, seed).iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
        }
        DType::BF16 => {
            return random_f32(len, seed).iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
        }
        _ => {}
    }
    let mut bytes: Vec<u8> = random_bits(seed).flat_map(u64::to_le_bytes).take(size).collect();
    for (i, block) in bytes.chunks_exact_mut(dtype.block_bytes()).enumerate() {
        match dtype {
            DType::Q4_0 => float(i, &mut block[0..2], 0.07),
            DType::Q5_0 => float(i, &mut block[0..2], 0.04),
            DType::Q8_0 => float(i, &mut block[0..2], 0.005),
            DType::Q4_1 | DType::Q5_1 => {
                float(i, &mut block[0..2], 0.05);
                float(i, &mut block[2..4], -0.6);
            }
            DType::Q4_K | DType::Q5_K => {
                float(i, &mut block[0..2], 0.001);
                float(i, &mut block[2..4], 0.008);
            }
            DType::Q6_K => float(i, &mut block[208..210], 0.0002),
            // Which words are scales depends on the size of heads: each is a small positive f32, or four quants.
            DType::C8 => block.chunks_exact_mut(4).for_each(|word| word[3] = 0x3c),
            DType::F32 | DType::F16 | DType::BF16 | DType::U32 | DType::A8 => {}
        }
    }
    bytes
}
