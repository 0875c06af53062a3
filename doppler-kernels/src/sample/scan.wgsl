// Running sums over a workgroup of 256.

var<workgroup> sums: array<vec2<u32>, 256>;

// The sum of the 64-bit numbers of this invocation and those before it. Call in uniform control flow; `sums` holds what each
// one got until the next call.
fn scan(lane: u32, value: vec2<u32>) -> vec2<u32> {
    var sum = value;
    workgroupBarrier();
    sums[lane] = sum;
    workgroupBarrier();
    for (var step = 1u; step < 256u; step *= 2u) {
        if lane >= step {
            sum = add64(sum, sums[lane - step]);
        }
        workgroupBarrier();
        sums[lane] = sum;
        workgroupBarrier();
    }
    return sum;
}
