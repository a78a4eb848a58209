//! Tensors: elements of one type in row-major order.

use secateur_base::{Error, Result};

/// The most elements that a tensor may have.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// The most axes that a tensor may have.
pub const MAX_RANK: usize = 8;

/// Type of a tensor's elements. Wider floats are narrowed to `F32` and half ones widened when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
}

impl DType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Bool => "bool",
        }
    }

    /// Returns whether the elements are integers or truth values.
    pub const fn is_integer(self) -> bool {
        !matches!(self, Self::F32)
    }

    /// `value` as this integer type keeps it: the low bits. Of `U64` the bits of the `i64`.
    pub const fn wrap(self, value: i64) -> i64 {
        match self {
            Self::I8 => value as i8 as i64,
            Self::U8 => value as u8 as i64,
            Self::I16 => value as i16 as i64,
            Self::U16 => value as u16 as i64,
            Self::I32 => value as i32 as i64,
            Self::U32 => value as u32 as i64,
            Self::Bool => (value != 0) as i64,
            Self::F32 | Self::I64 | Self::U64 => value,
        }
    }

    /// The least and the greatest integer of the type; of `U64` what an `i64` holds.
    pub const fn limits(self) -> (i64, i64) {
        match self {
            Self::I8 => (-128, 127),
            Self::U8 => (0, 255),
            Self::I16 => (-32_768, 32_767),
            Self::U16 => (0, 65_535),
            Self::I32 => (i32::MIN as i64, i32::MAX as i64),
            Self::U32 => (0, u32::MAX as i64),
            Self::Bool => (0, 1),
            Self::U64 => (0, i64::MAX),
            Self::F32 | Self::I64 => (i64::MIN, i64::MAX),
        }
    }
}

/// Type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub dtype: DType,
    /// Lengths of the axes, the outermost first; a scalar has none.
    pub shape: Vec<usize>,
}

impl Spec {
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Refuses what no tensor may be.
    ///
    /// # Errors
    /// More than [`MAX_RANK`] axes or [`MAX_ELEMENTS`] elements.
    pub fn check(self) -> Result<Self> {
        if self.rank() > MAX_RANK {
            return Err(Error::new("a tensor has too many axes")
                .found(format!("{} axes", self.rank()))
                .allowed(format!("at most {MAX_RANK}")));
        }
        let len = self.shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
        if len.is_none_or(|len| len > MAX_ELEMENTS) {
            return Err(Error::new("a tensor is too large")
                .found(format!("shape {:?}", self.shape))
                .allowed(format!("at most {MAX_ELEMENTS} elements")));
        }
        Ok(self)
    }
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.dtype.name(), self.shape)
    }
}

/// Elements in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    F32(Vec<f32>),
    /// Of every integer type, each [wrapped](DType::wrap) to it.
    Int(Vec<i64>),
}

/// A tensor. Its data have the variant of its type and as many elements as its shape says.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    spec: Spec,
    data: Data,
}

impl Tensor {
    /// A tensor of floats.
    ///
    /// # Errors
    /// The number of elements is not that of the shape.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self> {
        Self::new(Spec::new(DType::F32, shape), Data::F32(data))
    }

    /// A tensor of integers; each is wrapped to `dtype`.
    ///
    /// # Errors
    /// The number of elements is not that of the shape.
    pub fn int(dtype: DType, shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Result<Self> {
        Self::new(Spec::new(dtype, shape), Data::Int(data))
    }

    /// A tensor of integers along one axis, as shapes and axes are given.
    pub fn list(values: &[usize]) -> Self {
        let data = values.iter().map(|&value| value as i64).collect();
        Self { spec: Spec::new(DType::I64, [values.len()]), data: Data::Int(data) }
    }

    /// A scalar.
    pub fn scalar(value: f32) -> Self {
        Self { spec: Spec::new(DType::F32, []), data: Data::F32(vec![value]) }
    }

    /// A tensor of what `spec` says.
    ///
    /// # Errors
    /// Type or number of the elements is another, or the tensor is too large.
    pub fn new(spec: Spec, mut data: Data) -> Result<Self> {
        let spec = spec.check()?;
        let found = match &mut data {
            Data::F32(values) => (spec.dtype == DType::F32).then_some(values.len()),
            Data::Int(values) => {
                values.iter_mut().for_each(|value| *value = spec.dtype.wrap(*value));
                spec.dtype.is_integer().then_some(values.len())
            }
        };
        if found != Some(spec.len()) {
            let found = found.map_or("another type".to_owned(), |len| format!("{len} elements"));
            return Err(Error::new("a tensor's data do not fit its type and shape")
                .found(found)
                .allowed(format!("{} elements of {spec}", spec.len())));
        }
        Ok(Self { spec, data })
    }

    /// Zeros.
    pub fn zeros(spec: Spec) -> Self {
        let data = match spec.dtype {
            DType::F32 => Data::F32(vec![0.0; spec.len()]),
            _ => Data::Int(vec![0; spec.len()]),
        };
        Self { spec, data }
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    pub fn dtype(&self) -> DType {
        self.spec.dtype
    }

    pub fn data(&self) -> &Data {
        &self.data
    }

    pub fn into_data(self) -> Data {
        self.data
    }

    /// The same elements in the same order under another shape of as many elements.
    pub(crate) fn reshaped(self, shape: &[usize]) -> Self {
        Self { spec: Spec::new(self.spec.dtype, shape), data: self.data }
    }

    /// The elements as floats, if they are.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            Data::Int(_) => None,
        }
    }

    /// The elements as integers, if they are.
    pub fn as_int(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(values) => Some(values),
            Data::F32(_) => None,
        }
    }

    /// The elements as floats, whatever their type.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            Data::F32(values) => values.clone(),
            Data::Int(values) if self.spec.dtype == DType::U64 => {
                values.iter().map(|&value| value as u64 as f32).collect()
            }
            Data::Int(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }
}
