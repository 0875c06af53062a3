//! All instructions of this CPU against plain loops and against f64.

use super::{Instructions, Isa, Portable, WithIsa, padded, put, run_with};
use crate::cases::random_bits;

struct Numbers;

impl WithIsa for Numbers {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        let mut x = -87.0;
        while x < 88.0 {
            let y = isa.numbers(isa.exp(isa.splat(x)))[3];
            assert!((f64::from(y) / f64::from(x).exp() - 1.0).abs() < 2.5e-7, "e^{x} is {y}");
            x += 0.013;
        }
        assert!(isa.numbers(isa.exp(isa.splat(f32::NAN)))[0].is_nan());
        assert!(isa.numbers(isa.exp(isa.splat(-1e9)))[0] < 1e-37);
        for bits in 0..=u16::MAX {
            let exact = half::f16::from_bits(bits).to_f32();
            let wide = isa.numbers(isa.widened::<false>([bits; 8]))[5];
            assert!(wide == exact || (wide.is_nan() && exact.is_nan()), "{bits:#x}: {wide} {exact}");
            let finite = isa.numbers(isa.widened::<true>([bits; 8]))[5];
            assert!(!exact.is_finite() || finite == exact, "{bits:#x}: {finite} {exact}");
            let [low, high] = isa.widened_pairs([u32::from(bits) << 16 | u32::from(!bits); 8]);
            for (wide, bits) in [(low, !bits), (high, bits)] {
                let (exact, wide) = (half::f16::from_bits(bits).to_f32(), isa.numbers(wide)[6]);
                assert!(wide == exact || (wide.is_nan() && exact.is_nan()), "{bits:#x}: {wide} {exact}");
            }
            let (exact, wide) = (half::bf16::from_bits(bits), isa.numbers(isa.widened_bf16([bits; 8]))[2]);
            assert!(wide == exact.to_f32() || (wide.is_nan() && exact.is_nan()), "{bits:#x}: {wide} {exact}");
        }
        assert_eq!(isa.total(isa.floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])), 36.0);
        let mut values = [1.0; 11];
        for eight in values.chunks_mut(8) {
            put(eight, padded(eight).map(|v| v + 1.0));
        }
        assert_eq!(values, [2.0; 11]);
    }
}

#[test]
fn numbers() {
    for instructions in Instructions::available() {
        run_with(instructions, Numbers);
    }
}

/// The same bits as by plain loops, operation by operation.
struct SameBits;

impl WithIsa for SameBits {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        let mut random = random_bits(1);
        for _ in 0..100 {
            let mut bytes = [[0; 32]; 10];
            bytes.as_flattened_mut().fill_with(|| random.next().unwrap() as u8);
            let [rows @ .., a, b] = bytes;
            codes(isa, a);
            let transposed = isa.transpose(rows.map(
                #[inline(always)]
                |row| isa.bytes(row),
            ));
            for (row, expected) in transposed.into_iter().zip(Portable.transpose(rows)) {
                assert_eq!(isa.stored(row), expected);
            }
            products(isa, rows, a, b);
            floats(isa, a, b);
        }
    }
}

#[inline(always)]
fn codes<I: Isa>(isa: I, a: [u8; 32]) {
    let half: [u8; 16] = *a.first_chunk().unwrap();
    assert_eq!(isa.stored(isa.nibbles(half)), Portable.nibbles(half));
    for (right, mask, left) in [(0, 15, 0), (4, 15, 0), (7, 1, 4), (2, 3, 4), (0, 1, 4)] {
        assert_eq!(isa.stored(isa.bits(a, right, mask, left)), Portable.bits(a, right, mask, left));
    }
    let word = u32::from_le_bytes(*a.first_chunk().unwrap());
    assert_eq!(isa.stored(isa.fifth_bits(word)), Portable.fifth_bits(word));
    assert_eq!(isa.stored(isa.or(isa.bytes(a), isa.fifth_bits(word))), Portable.or(a, Portable.fifth_bits(word)));
}

#[inline(always)]
fn products<I: Isa>(isa: I, rows: [[u8; 32]; 8], a: [u8; 32], b: [u8; 32]) {
    // Sums stay below 2^24, where f32 is exact.
    let x: [u32; 8] = bytemuck::cast(b.map(|v| (v as i8).max(-127)));
    let y: [u32; 8] = bytemuck::cast(a.map(|v| (v as i8).max(-127)));
    let dot = isa.numbers(isa.converted(isa.dot::<true>(isa.bytes(a), x)));
    assert_eq!(dot, Portable.dot::<true>(a, x).map(|sum| sum as f32));
    let low = a.map(|v| v & 127);
    let dot = isa.numbers(isa.converted(isa.dot::<false>(isa.bytes(low), x)));
    assert_eq!(dot, Portable.dot::<false>(low, x).map(|sum| sum as f32));

    macro_rules! tile {
        ($signed:literal, $group:literal, $mask:literal) => {
            let rows = rows.map(|row| row.map(|v| v & $mask));
            let tile = isa.tile::<$signed, $group, 2>(&rows, [&x, &y]);
            let plain = Portable.tile::<$signed, $group, 2>(&rows, [&x, &y]);
            for (tile, plain) in tile.into_iter().zip(plain) {
                assert_eq!(isa.numbers(isa.converted(tile)), plain.map(|sum| sum as f32));
            }
            // A half block is no whole group of eight.
            if $group <= 4 {
                let [tile] = isa.tile::<$signed, $group, 1>(&rows[4..], [&x[4..]]);
                let [plain] = Portable.tile::<$signed, $group, 1>(&rows[4..], [&x[4..]]);
                assert_eq!(isa.numbers(isa.converted(tile)), plain.map(|sum| sum as f32));
            }
        };
    }
    tile!(true, 1, 0xFF);
    tile!(false, 8, 15);
    tile!(false, 4, 31);
    tile!(false, 2, 63);
}

#[inline(always)]
fn floats<I: Isa>(isa: I, a: [u8; 32], b: [u8; 32]) {
    let (a, b): ([f32; 8], [f32; 8]) = (bytemuck::cast(a), bytemuck::cast(b));
    let (x, y) = (isa.floats(a), isa.floats(b));
    same(isa.numbers(isa.mul(x, y)), Portable.mul(a, b));
    same(isa.numbers(isa.add(x, y)), Portable.add(a, b));
    same(isa.numbers(isa.div(x, y)), Portable.div(a, b));
    same(isa.numbers(isa.max(x, y)), Portable.max(a, b));
    same(isa.numbers(isa.clamp(x, -2.0, 3.0)), Portable.clamp(a, -2.0, 3.0));
    same(isa.numbers(isa.pair(a[0], a[1])), Portable.pair(a[0], a[1]));
    same(isa.numbers(isa.times_power(isa.splat(a[3]), isa.splat(4.0))), Portable.times_power([a[3]; 8], [4.0; 8]));
}

/// The same bits, or NaN of any kind.
fn same(actual: [f32; 8], expected: [f32; 8]) {
    for (actual, expected) in actual.into_iter().zip(expected) {
        assert!(
            actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan()),
            "{actual} {expected}"
        );
    }
}

#[test]
fn same_bits() {
    for instructions in Instructions::available() {
        run_with(instructions, SameBits);
    }
}

#[test]
fn the_best_comes_first() {
    let available: Vec<_> = Instructions::available().collect();
    assert_eq!(available.first(), Some(&Instructions::best()));
    assert_eq!(available.last(), Some(&Instructions::Portable));
}
