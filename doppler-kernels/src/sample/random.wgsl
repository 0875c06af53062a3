// Philox4x32 with ten rounds: the random number of a position, as `doppler_sampling::rng` defines it.

fn random(position: u32) -> vec2<u32> {
    var counter = vec4<u32>(position, 0u, 0u, 0u);
    var key = vec2<u32>(settings[8] | (settings[9] << 16u), settings[10] | (settings[11] << 16u));
    for (var round = 0u; round < 10u; round++) {
        let left = multiply(0xD2511F53u, counter.x);
        let right = multiply(0xCD9E8D57u, counter.z);
        counter = vec4<u32>(right.y ^ counter.y ^ key.x, right.x, left.y ^ counter.w ^ key.y, left.x);
        key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter.yx;
}
