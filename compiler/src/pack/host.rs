//! The portable kernels compiled for the vector units of the machine that runs the compiler.

use secateur_runtime::{Kernels, Tensor, kernels};

/// Same code and bytes as the portable kernels; the processor's features are found at run time.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostKernels;

impl Kernels for HostKernels {
    fn conv(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Conv<'_>) {
        conv(input, output, parameters);
    }

    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Depthwise<'_>) {
        depthwise(input, output, parameters);
    }

    fn connected(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Connected<'_>) {
        connected(input, output, parameters);
    }

    fn maxpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &kernels::Window) {
        maxpool(input, output, window);
    }
}

// The kernels are inlined into these, so each is compiled once for every set of features.
#[multiversion::multiversion(targets = "simd")]
fn conv(input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Conv<'_>) {
    kernels::conv(input, output, parameters);
}

#[multiversion::multiversion(targets = "simd")]
fn depthwise(input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Depthwise<'_>) {
    kernels::depthwise(input, output, parameters);
}

#[multiversion::multiversion(targets = "simd")]
fn connected(input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Connected<'_>) {
    kernels::connected(input, output, parameters);
}

#[multiversion::multiversion(targets = "simd")]
fn maxpool(input: Tensor<'_>, output: Tensor<'_>, window: &kernels::Window) {
    kernels::maxpool(input, output, window);
}
