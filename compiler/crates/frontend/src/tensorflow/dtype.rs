//! TensorFlow's data types, of which values are read.

use secateur_base::{Error, Result};

/// A data type whose values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    Float,
    Double,
    Int32,
    Uint8,
    Int64,
    Bool,
    Half,
}

/// Names and numbers of types.proto; `DT_*_REF` is 100 more.
const TYPES: [(DataType, u64, &str); 7] = [
    (DataType::Float, 1, "DT_FLOAT"),
    (DataType::Double, 2, "DT_DOUBLE"),
    (DataType::Int32, 3, "DT_INT32"),
    (DataType::Uint8, 4, "DT_UINT8"),
    (DataType::Int64, 9, "DT_INT64"),
    (DataType::Bool, 10, "DT_BOOL"),
    (DataType::Half, 19, "DT_HALF"),
];

impl DataType {
    /// The type of this number, if its values are read.
    pub fn of(number: u64) -> Option<Self> {
        let number = if number > 100 { number - 100 } else { number };
        TYPES.iter().find(|(_, known, _)| *known == number).map(|(dtype, ..)| *dtype)
    }

    /// The type of this name or number in a text.
    pub fn named(word: &str) -> Option<Self> {
        let name = word.strip_suffix("_REF").unwrap_or(word);
        let named = TYPES.iter().find(|(.., known)| *known == name).map(|(dtype, ..)| *dtype);
        named.or_else(|| Self::of(word.parse().ok()?))
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::Uint8 => 1,
            Self::Half => 2,
            Self::Float | Self::Int32 => 4,
            Self::Double | Self::Int64 => 8,
        }
    }

    /// Whether its values are whole numbers or truth values.
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int32 | Self::Int64 | Self::Bool | Self::Uint8)
    }

    /// The values of little-endian bytes, as floats.
    ///
    /// # Errors
    /// The bytes do not hold whole values.
    pub fn floats(self, bytes: &[u8]) -> Result<Vec<f32>> {
        self.check(bytes)?;
        Ok(match self {
            Self::Float => array(bytes, f32::from_le_bytes),
            Self::Double => array(bytes, |value| f64::from_le_bytes(value) as f32),
            Self::Half => array(bytes, |value| half(u16::from_le_bytes(value))),
            _ => self.integers(bytes)?.into_iter().map(|value| value as f32).collect(),
        })
    }

    /// The values of little-endian bytes, as integers; floats are cut.
    pub fn integers(self, bytes: &[u8]) -> Result<Vec<i64>> {
        self.check(bytes)?;
        Ok(match self {
            Self::Int32 => array(bytes, |value| i64::from(i32::from_le_bytes(value))),
            Self::Int64 => array(bytes, i64::from_le_bytes),
            Self::Bool | Self::Uint8 => bytes.iter().map(|value| i64::from(*value)).collect(),
            _ => self.floats(bytes)?.into_iter().map(|value| value as i64).collect(),
        })
    }

    fn check(self, bytes: &[u8]) -> Result<()> {
        match bytes.len().is_multiple_of(self.size()) {
            true => Ok(()),
            false => Err(Error::new("a tensor's bytes are no whole number of values")
                .found(format!("{} bytes", bytes.len()))
                .allowed(format!("a multiple of {}", self.size()))),
        }
    }
}

fn array<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
}

/// A number of IEEE 754 half precision.
pub fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f32::from(bits & 0x3ff);
    sign * match bits >> 10 & 0x1f {
        0 => fraction * 2.0_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2.0_f32.powi(i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (1, 5.960_464_5e-8), (0x3555, 0.333_251_95)]
        {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(DataType::named("DT_FLOAT_REF"), Some(DataType::Float));
        assert_eq!(DataType::named("101"), Some(DataType::Float));
        assert_eq!(DataType::of(7), None);
        assert_eq!(DataType::Int32.integers(&[1, 0, 0, 0, 255, 255, 255, 255]).unwrap(), [1, -1]);
        assert!(DataType::Int64.integers(&[0; 9]).is_err());
    }
}
