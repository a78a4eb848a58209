//! Writes artefacts for tests, straight from the format's records.

use secateur_runtime::artefact::crc32;
use secateur_runtime::artefact::format::*;
use zerocopy::little_endian::{I16, I32, U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// An artefact in the making.
pub(crate) struct Build {
    pub(crate) header: Header,
    pub(crate) tensors: Vec<TensorRecord>,
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) operands: Vec<U32>,
    pub(crate) constants: Vec<u8>,
    pub(crate) heads: Vec<HeadRecord>,
    pub(crate) anchors: Vec<AnchorRecord>,
    pub(crate) text: Vec<u8>,
    pub(crate) names: Vec<TextRef>,
    pub(crate) provenance: ProvenanceRecord,
    pub(crate) suppression: SuppressionRecord,
    /// Further sections: kind, count, stride, bytes.
    pub(crate) extra: Vec<(u32, u32, u32, Vec<u8>)>,
    /// Bytes appended to each tensor record.
    pub(crate) tensor_growth: usize,
}

impl Build {
    pub(crate) fn new(arena_bytes: u32) -> Self {
        let header = Header {
            magic: MAGIC,
            version_major: U16::new(VERSION_MAJOR),
            version_minor: U16::new(VERSION_MINOR),
            arena_bytes: U32::new(arena_bytes),
            ..Header::new_zeroed()
        };
        let suppression = SuppressionRecord {
            threshold: U32::new(483_183_821),
            curve: U32::new(NONE),
            ..SuppressionRecord::new_zeroed()
        };
        Self {
            header,
            tensors: Vec::new(),
            steps: Vec::new(),
            operands: Vec::new(),
            constants: Vec::new(),
            heads: Vec::new(),
            anchors: Vec::new(),
            text: Vec::new(),
            names: Vec::new(),
            provenance: ProvenanceRecord::new_zeroed(),
            suppression,
            extra: Vec::new(),
            tensor_growth: 0,
        }
    }

    pub(crate) fn tensor(&mut self, offset: u32, [h, w, c]: [u32; 3], pitch: u32, zero: i8) -> u32 {
        self.tensors.push(TensorRecord {
            offset: U32::new(offset),
            h: U32::new(h),
            w: U32::new(w),
            c: U32::new(c),
            pitch: U32::new(pitch),
            dtype: U16::new(DType::I8.code()),
            zero_point: I16::new(zero.into()),
            scale_bits: U32::new(0.05f32.to_bits()),
            layer: U32::new(self.tensors.len() as u32),
        });
        self.tensors.len() as u32 - 1
    }

    pub(crate) fn constant<T: IntoBytes + Immutable>(&mut self, values: &[T]) -> u32 {
        self.constants.resize(self.constants.len().next_multiple_of(ALIGNMENT), 0);
        let offset = self.constants.len() as u32;
        self.constants.extend_from_slice(values.as_bytes());
        offset
    }

    pub(crate) fn text(&mut self, text: &str) -> TextRef {
        let offset = U32::new(self.text.len() as u32);
        self.text.extend_from_slice(text.as_bytes());
        TextRef { offset, bytes: U32::new(text.len() as u32) }
    }

    /// A step of `kind` with neutral parameters.
    pub(crate) fn step(&mut self, kind: StepKind, inputs: &[u32], output: u32) -> &mut StepRecord {
        let first = self.operands.len() as u32;
        self.operands.extend(inputs.iter().map(|&input| U32::new(input)));
        let one = U16::new(1);
        self.steps.push(StepRecord {
            kind: U16::new(kind.code()),
            layer: U32::new(self.steps.len() as u32),
            first_operand: U32::new(first),
            operand_count: U32::new(inputs.len() as u32),
            output: U32::new(output),
            groups: U32::new(1),
            kernel_h: one,
            kernel_w: one,
            stride_h: one,
            stride_w: one,
            dilation_h: one,
            dilation_w: one,
            lo: I16::new(-128),
            hi: I16::new(127),
            weights: U32::new(NONE),
            bias: U32::new(NONE),
            requant: U32::new(NONE),
            table: U32::new(NONE),
            multipliers: U32::new(NONE),
            ..StepRecord::new_zeroed()
        });
        self.steps.last_mut().unwrap()
    }

    /// Requantisation constants of the last step.
    pub(crate) fn requant(&mut self, requant: &[Requant]) {
        let offset = self.constant(requant);
        let step = self.steps.last_mut().unwrap();
        step.requant = U32::new(offset);
        step.requant_count = U32::new(requant.len() as u32);
    }

    /// Weights and biases of the last step.
    pub(crate) fn weights(&mut self, weights: &[i8], bias: &[i32]) {
        let bias: Vec<I32> = bias.iter().map(|&bias| I32::new(bias)).collect();
        let (at, bias) = (self.constant(weights), self.constant(&bias));
        let step = self.steps.last_mut().unwrap();
        step.weights = U32::new(at);
        step.weights_bytes = U32::new(weights.len() as u32);
        step.bias = U32::new(bias);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut tensors = Vec::new();
        for tensor in &self.tensors {
            tensors.extend_from_slice(tensor.as_bytes());
            tensors.resize(tensors.len() + self.tensor_growth, 0xa5);
        }
        let stride = size_of::<TensorRecord>() + self.tensor_growth;
        let section = |kind: Section, count: usize, bytes: &[u8]| {
            (kind.code(), count as u32, (bytes.len() / count.max(1)).max(1) as u32, bytes.to_vec())
        };
        let mut sections = vec![
            (Section::Tensors.code(), self.tensors.len() as u32, stride as u32, tensors),
            section(Section::Steps, self.steps.len(), self.steps.as_bytes()),
            section(Section::Operands, self.operands.len(), self.operands.as_bytes()),
            section(Section::Constants, self.constants.len(), &self.constants),
            section(Section::Heads, self.heads.len(), self.heads.as_bytes()),
            section(Section::Anchors, self.anchors.len(), self.anchors.as_bytes()),
            section(Section::Text, self.text.len(), &self.text),
            section(Section::Names, self.names.len(), self.names.as_bytes()),
            section(Section::Provenance, 1, self.provenance.as_bytes()),
            section(Section::Suppression, 1, self.suppression.as_bytes()),
        ];
        sections.extend(self.extra.clone());
        let mut end = (size_of::<Header>() + sections.len() * size_of::<SectionRecord>()) as u32;
        let mut directory = Vec::new();
        let mut body = Vec::new();
        for (kind, count, stride, bytes) in &sections {
            let offset = end.next_multiple_of(ALIGNMENT as u32);
            body.resize(body.len() + (offset - end) as usize, 0);
            body.extend_from_slice(bytes);
            end = offset + bytes.len() as u32;
            directory.push(SectionRecord {
                kind: U32::new(*kind),
                offset: U32::new(offset),
                count: U32::new(*count),
                stride: U32::new(*stride),
            });
        }
        let header = Header {
            section_count: U32::new(sections.len() as u32),
            file_bytes: U32::new(end + CRC_BYTES as u32),
            ..self.header
        };
        let mut file = [header.as_bytes(), directory.as_bytes(), &body].concat();
        file.extend_from_slice(&crc32(&file).to_le_bytes());
        file
    }
}

/// Replaces the CRC after a change: what a deliberate forger would do.
pub(crate) fn reseal(file: &mut [u8]) {
    let at = file.len() - CRC_BYTES;
    let crc = crc32(&file[..at]);
    file[at..].copy_from_slice(&crc.to_le_bytes());
}

/// A small detector that has a step of every kind, slices, an in-place sum and a yolo head.
///
/// Input `[8, 8, 3]`, arena 4 KiB.
pub(crate) fn sample() -> Build {
    let mut b = Build::new(4096);
    let requant = |n: usize| vec![Requant::new(80_000, 8_000, 26); n];
    let weights = |n: usize| (0..n).map(|i| ((i * 37) % 255) as i8).map(|w| w.max(-127)).collect::<Vec<i8>>();
    let window = |step: &mut StepRecord, kernel: u16, stride: u16, pad: u16| {
        (step.kernel_h, step.kernel_w) = (U16::new(kernel), U16::new(kernel));
        (step.stride_h, step.stride_w) = (U16::new(stride), U16::new(stride));
        (step.pad_top, step.pad_left) = (U16::new(pad), U16::new(pad));
    };
    let image = b.tensor(0, [8, 8, 3], 3, -128);
    // Two slices of one [8, 8, 12] buffer.
    let stem = b.tensor(192, [8, 8, 8], 12, 5);
    let side = b.tensor(200, [8, 8, 4], 12, 5);
    let wide = b.tensor(192, [8, 8, 12], 12, 5);
    window(b.step(StepKind::Conv, &[image], stem), 3, 1, 1);
    b.weights(&weights(8 * 27), &[300; 8]);
    b.requant(&requant(8));
    b.step(StepKind::Conv, &[stem], side);
    b.weights(&weights(32), &[-40; 4]);
    b.requant(&requant(4));
    let table: Vec<i8> = (-128..=127).rev().collect();
    let table = b.constant(&table);
    b.steps.last_mut().unwrap().table = U32::new(table);

    let half = b.tensor(1024, [4, 4, 12], 12, 7);
    window(b.step(StepKind::Depthwise, &[wide], half), 3, 2, 1);
    b.weights(&weights(9 * 12), &[17; 12]);
    b.requant(&requant(12));
    let pooled = b.tensor(1280, [4, 4, 12], 12, 7);
    window(b.step(StepKind::MaxPool, &[half], pooled), 3, 1, 1);
    let multipliers = b.constant(&[I32::new(70_000), I32::new(66_000)]);
    b.step(StepKind::Shortcut, &[pooled, half], pooled).multipliers = U32::new(multipliers);
    b.requant(&[Requant::new(1, 1, 17)]);
    window(b.step(StepKind::LocalAvgPool, &[pooled], half), 2, 1, 0);
    b.requant(&requant(4));
    b.step(StepKind::Activate, &[half], half).table = U32::new(table);
    let mean = b.tensor(1536, [1, 1, 12], 12, 0);
    b.step(StepKind::AvgPool, &[half], mean);
    b.requant(&requant(1));
    let scaled = b.tensor(1600, [4, 4, 12], 12, -3);
    b.step(StepKind::Multiply, &[mean, half], scaled);
    b.requant(&requant(1));
    let up = b.tensor(2048, [8, 8, 12], 12, -3);
    let step = b.step(StepKind::Upsample, &[scaled], up);
    (step.stride_h, step.stride_w) = (U16::new(2), U16::new(2));
    let packed = b.tensor(0, [4, 4, 48], 48, -3);
    let step = b.step(StepKind::Reorg, &[up], packed);
    (step.stride_h, step.stride_w) = (U16::new(2), U16::new(2));
    let head = b.tensor(1024, [4, 4, 14], 14, 11);
    b.step(StepKind::Conv, &[packed], head);
    b.weights(&weights(14 * 48), &[0; 14]);
    b.requant(&requant(14));
    let cropped = b.tensor(2048, [2, 2, 14], 14, 0);
    let step = b.step(StepKind::Rescale, &[head], cropped);
    (step.pad_top, step.pad_left) = (U16::new(1), U16::new(2));
    b.requant(&requant(1));
    let logits = b.tensor(2304, [1, 1, 6], 6, 0);
    b.step(StepKind::Connected, &[cropped], logits);
    b.weights(&weights(6 * 56), &[1; 6]);
    b.requant(&requant(6));
    let shares = b.tensor(2320, [1, 1, 6], 6, -128);
    let exponentials: Vec<U32> =
        (0..256).map(|d| U32::new((65536.0 * (-f64::from(d) * 0.05).exp()) as u32)).collect();
    let exponentials = b.constant(&exponentials);
    b.step(StepKind::Softmax, &[logits], shares).weights = U32::new(exponentials);

    let sigmoid = |q: i32| 1.0 / (1.0 + (-f64::from(q) * 0.05).exp());
    let scores: Vec<U16> = (-128..128).map(|q| U16::new((sigmoid(q) * 32768.0).round() as u16)).collect();
    let xy: Vec<I32> = (-128..128).map(|q| I32::new((sigmoid(q) * 65536.0).round() as i32)).collect();
    let wh: Vec<U32> =
        (-128..128).map(|q| U32::new(((f64::from(q) * 0.05).exp() * 65536.0).round() as u32)).collect();
    let (scores, xy, wh) = (b.constant(&scores), b.constant(&xy), b.constant(&wh));
    b.anchors = vec![
        AnchorRecord { w: U32::new(3 << 16), h: U32::new(2 << 16) },
        AnchorRecord { w: U32::new(5 << 16), h: U32::new(6 << 16) },
    ];
    b.heads.push(HeadRecord {
        kind: U32::new(HeadKind::Yolo.code()),
        tensor: U32::new(head),
        layer: U32::new(11),
        classes: U32::new(2),
        anchor_count: U32::new(2),
        channels_per_anchor: U32::new(7),
        xy: U32::new(xy),
        wh: U32::new(wh),
        objectness: U32::new(scores),
        class: U32::new(scores),
        ..HeadRecord::new_zeroed()
    });
    b.names = vec![b.text("cat"), b.text("größer")];
    b.provenance.network = b.text("sample");
    b.provenance.tool = b.text("0.1.0");
    b.provenance.target = b.text("host");
    b.header.input = U32::new(image);
    b
}
