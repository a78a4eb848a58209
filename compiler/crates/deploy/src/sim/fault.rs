//! Errors of the driver as the compiler's.

use secateur_base::Error;

/// An error of the driver.
pub(super) fn fault<E: std::fmt::Display>(error: secateur_runtime::npu::driver::Error<E>) -> Error {
    Error::new(error.to_string())
}
