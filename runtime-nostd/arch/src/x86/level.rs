//! Sets of vector instructions.

use std::fmt;

/// A set of instructions that there are kernels for, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// AVX-512 F, BW, DQ and VNNI.
    Avx512Vnni,
    /// AVX2, FMA and the dot products of AVX-VNNI, or those of AVX-512 VL and VNNI, in vectors of 256 bits.
    AvxVnni,
    /// AVX2 and FMA.
    Avx2,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Avx512Vnni, Self::AvxVnni, Self::Avx2];

    /// The best set that this processor and its operating system have.
    pub fn detect() -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.is_available())
    }

    /// Whether this processor and its operating system have the instructions.
    pub fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
            }
            Self::AvxVnni => avx2 && (is_x86_feature_detected!("avxvnni") || Self::has_vnni_256()),
            Self::Avx2 => avx2,
        }
    }

    /// Whether `vpdpbusd` of 256 bits has AVX-512's encoding.
    pub(super) fn has_vnni_256() -> bool {
        is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vnni")
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx2 => "AVX2",
        })
    }
}
