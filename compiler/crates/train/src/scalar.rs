//! The number types of the engine: `f32` trains; `f64` is the reference that gradients are checked in.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use secateur_ir::Activation;

use crate::filter::{Filter, FilterGradient};
use crate::matrix::{Correlation, Product};

/// A real number with the operations that the kernels need.
pub trait Scalar:
    Copy
    + Debug
    + Default
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + Sum
    + pulp::bytemuck::Pod
    + 'static
{
    const ZERO: Self;
    const ONE: Self;

    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// `e^self`.
    #[must_use]
    fn exp(self) -> Self;
    /// The natural logarithm.
    #[must_use]
    fn ln(self) -> Self;
    #[must_use]
    fn tanh(self) -> Self;
    #[must_use]
    fn sqrt(self) -> Self;

    /// Value of an element-wise activation; in `f32` the float oracle's.
    #[must_use]
    fn activate(self, activation: Activation) -> Self;

    fn from_f32(value: f32) -> Self {
        Self::from_f64(f64::from(value))
    }

    fn to_f32(self) -> f32 {
        self.to_f64() as f32
    }

    #[must_use]
    fn maximum(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[must_use]
    fn minimum(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    /// Computes a matrix product.
    fn product(product: Product<'_, '_, Self>);

    /// Adds a correlation to its sums.
    fn correlate(correlation: Correlation<'_, Self>);

    /// Runs a depthwise filter over rows.
    fn filter(filter: Filter<'_, Self>);

    /// Adds a depthwise filter's gradient to its sums.
    fn filter_gradient(gradient: FilterGradient<'_, Self>);

    /// Runs `work` compiled for the widest vectors of this processor.
    fn vectorise<R>(work: impl FnOnce() -> R) -> R;
}

impl Scalar for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn exp(self) -> Self {
        libm::expf(self)
    }

    fn ln(self) -> Self {
        libm::logf(self)
    }

    fn tanh(self) -> Self {
        libm::tanhf(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn activate(self, activation: Activation) -> Self {
        secateur_float::activate(activation, self)
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn product(product: Product<'_, '_, Self>) {
        pulp::Arch::new().dispatch(product);
    }

    fn correlate(correlation: Correlation<'_, Self>) {
        pulp::Arch::new().dispatch(correlation);
    }

    fn filter(filter: Filter<'_, Self>) {
        pulp::Arch::new().dispatch(filter);
    }

    fn filter_gradient(gradient: FilterGradient<'_, Self>) {
        pulp::Arch::new().dispatch(gradient);
    }

    #[inline(always)]
    fn vectorise<R>(work: impl FnOnce() -> R) -> R {
        pulp::Arch::new().dispatch(work)
    }
}

impl Scalar for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn exp(self) -> Self {
        libm::exp(self)
    }

    fn ln(self) -> Self {
        libm::log(self)
    }

    fn tanh(self) -> Self {
        libm::tanh(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn activate(self, activation: Activation) -> Self {
        crate::activation::value(activation, self)
    }

    fn product(product: Product<'_, '_, Self>) {
        product.plain();
    }

    fn correlate(correlation: Correlation<'_, Self>) {
        correlation.plain();
    }

    fn filter(filter: Filter<'_, Self>) {
        filter.plain();
    }

    fn filter_gradient(gradient: FilterGradient<'_, Self>) {
        gradient.plain();
    }

    fn vectorise<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}
