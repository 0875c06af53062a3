// Probabilities in integers, as `doppler_sampling::octaves` defines them: no float is computed with, so every device gives
// the same. A vec2<u32> is a number of 64 bits, the low word first.

const OCTAVE: u32 = 1u << 24u;
const LAST: u32 = 0x3FFFFFFFu;
const NONE: u32 = 0xFFFFFFFFu;

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn subtract64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn less64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn shift_right64(a: vec2<u32>, by: u32) -> vec2<u32> {
    if by == 0u {
        return a;
    }
    if by < 32u {
        return vec2<u32>((a.x >> by) | (a.y << (32u - by)), a.y >> by);
    }
    return vec2<u32>(a.y >> (by - 32u), 0u);
}

fn multiply(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xFFFFu) * (b & 0xFFFFu);
    let left = (a >> 16u) * (b & 0xFFFFu);
    let right = (a & 0xFFFFu) * (b >> 16u);
    let middle = (low >> 16u) + (left & 0xFFFFu) + (right & 0xFFFFu);
    let high = (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u) + (middle >> 16u);
    return vec2<u32>((low & 0xFFFFu) | (middle << 16u), high);
}

// What is stored of 64 bits: words below 2^24.
fn limbs(a: vec2<u32>) -> vec3<u32> {
    return vec3<u32>(a.x & 0xFFFFFFu, ((a.x >> 24u) | (a.y << 8u)) & 0xFFFFFFu, a.y >> 16u);
}

fn whole(limbs: vec3<u32>) -> vec2<u32> {
    return vec2<u32>(limbs.x | (limbs.y << 24u), (limbs.y >> 8u) | (limbs.z << 16u));
}

// The number of which a sum must be more to hold `fraction / 2^32` of `total`.
fn share(total: vec2<u32>, fraction: u32) -> vec2<u32> {
    let low = multiply(total.x, fraction);
    let sum = add64(multiply(total.y, fraction), vec2<u32>(low.y, 0u));
    // One less than the product, unless that is 0.
    let borrows = low.x == 0u && (sum.x | sum.y) != 0u;
    return subtract64(sum, vec2<u32>(select(0u, 1u, borrows), 0u));
}

// One of the numbers below `total`: `random / 2^64` of the way.
fn pick(total: vec2<u32>, random: vec2<u32>) -> vec2<u32> {
    let lowest = multiply(total.x, random.x);
    let left = multiply(total.y, random.x);
    let right = multiply(total.x, random.y);
    let middle = add64(add64(vec2<u32>(lowest.y, 0u), vec2<u32>(left.x, 0u)), vec2<u32>(right.x, 0u));
    let high = add64(add64(vec2<u32>(left.y, 0u), vec2<u32>(right.y, 0u)), vec2<u32>(middle.y, 0u));
    return add64(multiply(total.y, random.y), high);
}

struct Scale {
    multiplier: u32,
    exponent: i32,
}

// That of temperature 1.
const PLAIN: Scale = Scale(0xB8AA3B29u, -31);

fn exponent_of(x: u32) -> i32 {
    return i32((x >> 23u) & 255u);
}

fn is_finite(x: u32) -> bool {
    return exponent_of(x) != 255;
}

// Whether the float of bits `x` takes more than 31 bits in steps of 2^(unit - 150).
fn too_large(x: u32, unit: i32) -> bool {
    return exponent_of(x) - unit > 7 || !is_finite(x);
}

// The float of bits `x` in these steps.
fn fixed_point(x: u32, unit: i32) -> u32 {
    if exponent_of(x) == 0 {
        return 0u;
    }
    let shift = exponent_of(x) - unit;
    let mantissa = (x & 0x7FFFFFu) | 0x800000u;
    let steps = select(mantissa << u32(clamp(shift, 0, 7)), mantissa >> u32(clamp(-shift, 0, 31)), shift < 0);
    return select(steps, 0u - steps, x >> 31u == 1u);
}

// Octaves from the float of bits `best` down to that of bits `x`, in steps of 2^-24.
fn octaves(scale: Scale, best: u32, x: u32) -> u32 {
    let unit = max(exponent_of(best) - 6, 95 - scale.exponent);
    if too_large(best, unit) || too_large(x, unit) {
        return LAST;
    }
    let distance = fixed_point(best, unit) - fixed_point(x, unit);
    if distance == 0u {
        return 0u;
    }
    let shift = u32(min(unit + scale.exponent - 94, 31));
    let product = multiply(distance, scale.multiplier);
    if product.y >= (1u << 30u) >> shift {
        return LAST;
    }
    return (product.y << shift) | (product.x >> (32u - shift));
}

// coefficient - fraction * sum
fn falling(sum: u32, coefficient: u32, fraction: u32) -> u32 {
    return coefficient - multiply(fraction, sum).y;
}

// The weight of a token so many octaves behind the best, in steps of 2^-40 of the best one's.
fn weight(octaves: u32) -> vec2<u32> {
    let fraction = (octaves % OCTAVE) << 8u;
    var sum = falling(0u, 234126u, fraction);
    sum = falling(sum, 2737501u, fraction);
    sum = falling(sum, 20571132u, fraction);
    sum = falling(sum, 119165493u, fraction);
    sum = falling(sum, 515877902u, fraction);
    sum = falling(sum, 1488521986u, fraction);
    let mantissa = falling(sum, 1u << 31u, fraction);
    return shift_right64(vec2<u32>(mantissa << 9u, mantissa >> 23u), octaves / OCTAVE);
}

// The higher the float of bits `x`, the smaller; 0 and -0 are the same.
fn rank(x: u32) -> u32 {
    let bits = select(x, 0u, x == 0x80000000u);
    return select(0x7FFFFFFFu - bits, bits, bits >> 31u == 1u);
}
