//! Counter-based random bits.
//!
//! Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3"
//! (SC 2011): element `i` of a stream depends on the key and on `i` alone, so tiles, threads,
//! recomputation and batches agree.

/// Four random words for a counter under a key.
pub(crate) fn philox(counter: [u32; 4], key: u64) -> [u32; 4] {
    let mut c = counter;
    let mut k = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let a = u64::from(c[0]) * 0xD251_1F53;
        let b = u64::from(c[2]) * 0xCD9E_8D57;
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

fn block(key: u64, index: u64, precision: u32) -> [u32; 4] {
    philox([index as u32, (index >> 32) as u32, precision, 0], key)
}

/// Element `index` of the uniform stream under `key`: a multiple of 2⁻²⁴ in [0, 1).
pub(crate) fn uniform_f32(key: u64, index: u64) -> f32 {
    let word = block(key, index / 4, 32)[(index % 4) as usize];
    (word >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// Element `index` of the uniform stream under `key`: a multiple of 2⁻⁵³ in [0, 1).
pub(crate) fn uniform_f64(key: u64, index: u64) -> f64 {
    let words = block(key, index / 2, 64);
    let half = 2 * (index % 2) as usize;
    let bits = u64::from(words[half]) << 32 | u64::from(words[half + 1]);
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::philox;

    /// Known answers published with Random123 1.14.0 (`kat_vectors`).
    #[test]
    fn matches_the_published_vectors() {
        assert_eq!(philox([0; 4], 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], u64::MAX), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], 0x299f_31d0_a409_3822),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
