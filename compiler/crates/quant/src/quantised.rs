//! The result of quantisation.

use super::net::QNet;
use super::prepare::Prepared;

/// An int8 network and the float network that it approximates, channel by channel on the same scale.
#[derive(Debug, Clone)]
pub struct Quantised {
    pub net: QNet,
    pub(crate) prepared: Prepared,
}
