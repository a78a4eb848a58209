//! Tables of 256 entries: activations, decoding of heads, softmax.

// That of the C library differs from system to system, and with the processor.
use libm::exp;

use secateur_ir::round_half_up;

use super::scale::Scale;
use secateur_float as float;
use secateur_ir::{Activation, Detection, Region, Yolo};
use serde::{Deserialize, Serialize};

/// `T[q + 128]` of an activation that two slopes cannot express.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<i8>", into = "Vec<i8>")]
pub struct QTable(pub Box<[i8; 256]>);

impl TryFrom<Vec<i8>> for QTable {
    type Error = String;

    fn try_from(bytes: Vec<i8>) -> Result<Self, String> {
        let length = bytes.len();
        bytes
            .into_boxed_slice()
            .try_into()
            .map(Self)
            .map_err(|_| format!("table of {length} entries, not 256"))
    }
}

impl From<QTable> for Vec<i8> {
    fn from(table: QTable) -> Self {
        table.0.to_vec()
    }
}

/// Decoding tables of a head, 256 entries each, by `q + 128` of its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadTables {
    /// Centre within its cell, in cells, Q16.16.
    pub xy: Vec<i32>,
    /// Factor on the anchor (yolo, region) or on the image (detection), Q16.16, saturated.
    pub wh: Vec<u32>,
    /// Q0.15: 32768 is one.
    pub objectness: Vec<u16>,
    /// Q0.15; where the head takes a softmax, `2^15 · e^(−d · scale)` by `d = max − q`.
    pub class: Vec<u16>,
}

/// One in Q0.15.
const ONE_Q15: f64 = 32768.0;

/// One in Q16.16.
const ONE_Q16: f64 = 65536.0;

/// All quantised values, as table index order has them.
fn quantised_values() -> impl Iterator<Item = i8> {
    i8::MIN..=i8::MAX
}

/// `T[q + 128]` of `activation` from the pre-activation's scale to the output's.
pub(crate) fn activation_table(activation: Activation, input: Scale, output: Scale) -> QTable {
    let mut table = Box::new([0; 256]);
    for (entry, q) in table.iter_mut().zip(quantised_values()) {
        *entry = output.quantise(f64::from(float::activate(activation, input.real(q) as f32)));
    }
    QTable(table)
}

/// Tables of a `[yolo]` head (v3, v4 and `new_coords`) over a tensor of `scale`.
pub(crate) fn yolo_tables(head: &Yolo, scale: Scale) -> HeadTables {
    // With new_coords the convolution before the head has the logistic already.
    let value = |q| if head.new_coords { scale.real(q) } else { logistic(scale.real(q)) };
    let stretch = f64::from(head.scale_x_y);
    let size = |q| if head.new_coords { (2.0 * scale.real(q)).powi(2) } else { exp(scale.real(q)) };
    HeadTables {
        xy: quantised_values().map(|q| q16(value(q) * stretch - 0.5 * (stretch - 1.0))).collect(),
        wh: quantised_values().map(|q| unsigned_q16(size(q))).collect(),
        objectness: quantised_values().map(|q| q15(value(q))).collect(),
        class: quantised_values().map(|q| q15(value(q))).collect(),
    }
}

/// Tables of a `[region]` head (v2).
pub(crate) fn region_tables(head: &Region, scale: Scale) -> HeadTables {
    HeadTables {
        xy: quantised_values().map(|q| q16(logistic(scale.real(q)))).collect(),
        wh: quantised_values().map(|q| unsigned_q16(exp(scale.real(q)))).collect(),
        objectness: quantised_values().map(|q| q15(logistic(scale.real(q)))).collect(),
        class: class_shares(head.softmax, scale),
    }
}

/// Tables of a `[detection]` head (v1).
pub(crate) fn detection_tables(head: &Detection, scale: Scale) -> HeadTables {
    let size = |q| if head.sqrt { scale.real(q).powi(2) } else { scale.real(q) };
    HeadTables {
        xy: quantised_values().map(|q| q16(scale.real(q))).collect(),
        wh: quantised_values().map(|q| unsigned_q16(size(q))).collect(),
        objectness: quantised_values().map(|q| q15(scale.real(q))).collect(),
        class: class_shares(head.softmax, scale),
    }
}

/// Softmax's exponentials by distance from the greatest code, Q0.16.
pub(crate) fn exponentials(scale: Scale, temperature: f64) -> Vec<u32> {
    (0..256).map(|d| unsigned_q16(exp(-f64::from(d) * scale.scale / temperature))).collect()
}

fn class_shares(softmax: bool, scale: Scale) -> Vec<u16> {
    if softmax {
        (0..256).map(|d| q15(exp(-f64::from(d) * scale.scale))).collect()
    } else {
        quantised_values().map(|q| q15(scale.real(q))).collect()
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// A share in Q0.15, within 0..=1.
fn q15(share: f64) -> u16 {
    round_half_up(share * ONE_Q15).clamp(0.0, ONE_Q15) as u16
}

// Casts from float saturate.
fn q16(value: f64) -> i32 {
    round_half_up(value * ONE_Q16) as i32
}

fn unsigned_q16(value: f64) -> u32 {
    round_half_up(value * ONE_Q16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_ir::NmsKind;

    const SCALE: Scale = Scale { scale: 0.0625, zero_point: 3 };

    fn head(new_coords: bool, scale_x_y: f32) -> Yolo {
        Yolo {
            classes: 1,
            mask: vec![0],
            anchors: vec![(1.0, 1.0)],
            scale_x_y,
            new_coords,
            nms_kind: NmsKind::Default,
            beta_nms: 0.6,
        }
    }

    #[test]
    fn activation_tables_are_within_half_a_step_of_the_function() {
        let output = Scale::of_range((-0.3, 7.0));
        for activation in [Activation::Mish, Activation::Swish, Activation::Logistic, Activation::Elu] {
            let table = activation_table(activation, SCALE, output);
            for q in quantised_values() {
                let real = f64::from(float::activate(activation, SCALE.real(q) as f32));
                let got = output.real(table.0[(i16::from(q) + 128) as usize]);
                let error = (got - real.clamp(output.real(-128), output.real(127))).abs();
                assert!(error <= 0.5001 * output.scale, "{activation:?} at {q}: {got} for {real}");
            }
        }
    }

    #[test]
    fn yolo_tables_hold_known_points() {
        let tables = yolo_tables(&head(false, 1.0), SCALE);
        let zero = usize::from(3u8 + 128);
        assert_eq!(tables.xy[zero], 32768);
        assert_eq!(tables.wh[zero], 65536);
        assert_eq!(tables.objectness[zero], 16384);
        // q = 19 is 1.0: logistic 0.7310586, e = 2.7182818.
        assert_eq!(tables.class[zero + 16], 23955);
        assert_eq!(tables.wh[zero + 16], 178145);
        let stretched = yolo_tables(&head(false, 1.2), SCALE);
        assert_eq!(stretched.xy[zero], 32768);
        assert_eq!(
            stretched.xy[255],
            ((logistic(SCALE.real(127)) * 1.2f32 as f64 - 0.1) * 65536.0).round() as i32
        );
    }

    #[test]
    fn new_coords_take_the_value_itself_and_sizes_saturate() {
        let unit = Scale { scale: 1.0 / 255.0, zero_point: -128 };
        let tables = yolo_tables(&head(true, 2.0), unit);
        assert_eq!((tables.objectness[0], tables.objectness[255]), (0, 32768));
        assert_eq!((tables.wh[0], tables.wh[255]), (0, 4 * 65536));
        assert_eq!((tables.xy[0], tables.xy[255]), (-32768, 98304));
        let wide = Scale { scale: 1.0, zero_point: -128 };
        assert_eq!(yolo_tables(&head(false, 1.0), wide).wh[255], u32::MAX);
    }

    #[test]
    fn softmax_starts_at_one_and_falls() {
        let exp = exponentials(SCALE, 1.0);
        assert_eq!((exp[0], exp[16]), (65536, 24109));
        assert!(exp.windows(2).all(|w| w[1] <= w[0]) && exp[255] == 0);
    }
}
