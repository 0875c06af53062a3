//! What the CPU forms allocate besides their operands is what they say.
#![cfg(feature = "testing")]

use std::alloc::System;

use cap::Cap;
use doppler_kernels::cases::{random_f32, random_weights};
use doppler_kernels::{Attention, Instructions, Kernel, MatMul};
use doppler_rdrr::DType;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What is not counted: rayon's jobs, and lists of a fixed length.
const SMALL: usize = 4 << 10;

/// The most bytes that were taken while `work` ran.
fn peak(work: impl FnOnce()) -> usize {
    let (before, peak) = (MEMORY.allocated(), MEMORY.max_allocated());
    // The peak can only be seen where it is passed.
    let filler = vec![0u8; peak - before];
    work();
    drop(filler);
    MEMORY.max_allocated() - peak
}

fn check(what: &str, taken: usize, said: usize) {
    assert!(taken <= said + SMALL, "{what}: {taken} bytes taken, {said} said");
    assert!(2 * (taken + SMALL) >= said, "{what}: only {taken} bytes taken, {said} said");
}

fn products(pool: &rayon::ThreadPool) {
    for &weight in DType::WEIGHTS {
        for (rows, out_features, in_features) in [(1, 64, 4096), (5, 64, 8192), (300, 64, 1024)] {
            let m = MatMul { rows, out_features, in_features, weight, y_stride: out_features, y_offset: 0 };
            let x = random_f32(rows * in_features, 1);
            let w = random_weights(weight, out_features * in_features, 2);
            let mut words = vec![0u32; w.len().div_ceil(4)];
            bytemuck::cast_slice_mut(&mut words)[..w.len()].copy_from_slice(&w);
            let reads = [bytemuck::cast_slice(&x), &bytemuck::cast_slice(&words)[..w.len()]];
            let mut y = vec![0f32; rows * out_features];
            let said = m.host_scratch_bytes(pool.current_num_threads());
            let f32 = peak(|| pool.install(|| m.host(&reads, &mut [bytemuck::cast_slice_mut(&mut y)])));
            assert!(f32 <= said + SMALL, "{m:?} in f32: {f32} bytes taken, {said} said");
            let mut most = f32;
            for by in Instructions::available() {
                let taken = peak(|| pool.install(|| m.host_int8(by, &reads, &mut [bytemuck::cast_slice_mut(&mut y)])));
                assert!(taken <= said + SMALL, "{m:?} by {by:?}: {taken} bytes taken, {said} said");
                most = most.max(taken);
            }
            // Few rows of unpacked weights are used where they are.
            if rows > 2 {
                check(&format!("{m:?}"), most, said);
            }
        }
    }
}

fn attention(pool: &rayon::ThreadPool) {
    let a = Attention {
        rows: 64,
        num_attention_heads: 16,
        num_key_value_heads: 2,
        head_dim: 16,
        capacity: 4096,
        scale: 0.25,
        softcap: None,
        sliding_window: None,
        kv: DType::F32,
    };
    let (q, cache) = (random_f32(a.rows * 16 * 16, 1), random_f32(a.capacity * 2 * 16, 2));
    let start = [(a.capacity - a.rows) as u32];
    let mut y = vec![0f32; q.len()];
    let reads = [
        bytemuck::cast_slice(&q),
        bytemuck::cast_slice(&cache),
        bytemuck::cast_slice(&cache),
        bytemuck::cast_slice(&start),
    ];
    let taken = peak(|| pool.install(|| a.host(&reads, &mut [bytemuck::cast_slice_mut(&mut y)])));
    check("attention", taken, a.host_scratch_bytes(pool.current_num_threads()));
}

/// One test: another one's memory would be counted, too.
#[test]
fn what_is_taken_is_what_is_said() {
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // The first job makes the queues.
        pool.install(|| rayon::join(|| (), || ()));
        products(&pool);
        attention(&pool);
    }
}
