//! How a network is trained: neutral, so that any front end can fill it. Defaults are Darknet's.
//!
//! A **batch** is the set of images of one update of the weights; a **pass** is the part of it that goes through the
//! network at once.

/// Everything about training that a network's file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Images of one update.
    pub batch: usize,
    /// Passes of one update; divides `batch`.
    pub subdivisions: usize,
    pub optimizer: Optimizer,
    /// Factor of the weights (not of biases and scales) in their gradient.
    pub decay: f32,
    pub schedule: Schedule,
    pub augmentation: Augmentation,
    /// Weight of the old value in the moving average of the weights; 0: no average is kept.
    pub ema_alpha: f32,
    /// Parallel to the graph's nodes.
    pub layers: Vec<LayerTraining>,
}

impl Training {
    /// Images of one pass.
    pub fn pass(&self) -> usize {
        self.batch / self.subdivisions
    }
}

/// Rule that turns gradients into new weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent; the fraction `momentum` of the last step is added to each.
    Sgd { momentum: f32 },
    /// Kingma and Ba 2014.
    Adam { beta1: f32, beta2: f32, epsilon: f32 },
}

/// The learning rate by batch number.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Rate at full height.
    pub learning_rate: f32,
    /// Before this batch number the rate is `learning_rate · (number / burn_in)^power`, whatever the policy.
    pub burn_in: u64,
    /// Exponent of the burn-in and of the policies [`Policy::Poly`] and [`Policy::Random`].
    pub power: f32,
    pub policy: Policy,
    /// Batches of the whole training; 0: no end is given.
    pub max_batches: u64,
}

/// How the rate `r` follows from the schedule's `learning_rate` at batch number `n`.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    Constant,
    /// `r · scale^⌊n / step⌋`
    Step {
        step: u64,
        scale: f32,
    },
    /// `r` times every scale whose batch number is reached; ends at the first that is not.
    Steps(Vec<(u64, f32)>),
    /// `r · gamma^n`
    Exp {
        gamma: f32,
    },
    /// `r · (1 − n / max_batches)^power`
    Poly,
    /// `r / (1 + e^(gamma · (n − step)))`
    Sigmoid {
        gamma: f32,
        step: u64,
    },
    /// A cosine from `r` to `minimum` in `cycle` batches, then again from the top, each cycle `factor` times as long
    /// as the last (Loshchilov and Hutter 2016).
    Sgdr {
        minimum: f32,
        cycle: u64,
        factor: u64,
    },
    /// `r · u^power`, `u` drawn anew for every batch from 0 … 1.
    Random,
}

/// Random changes of the training images.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// Of classifiers: rotation by up to this many degrees to both sides.
    pub angle: f32,
    /// Of classifiers: height by width is changed by up to this factor.
    pub aspect: f32,
    /// Of classifiers: range of the shorter side, in pixels, to which an image is resized before it is cropped.
    pub crop: [usize; 2],
    /// Factor of the saturation, from its reciprocal to it.
    pub saturation: f32,
    /// Factor of the brightness, from its reciprocal to it.
    pub exposure: f32,
    /// Turn of the hue to both sides, in turns of the colour circle.
    pub hue: f32,
    /// Half of the images are mirrored.
    pub flip: bool,
    /// Size in pixels of the kernel that blurs some of the images; 0: none is blurred, 1: of a detector's images only
    /// what is outside the boxes.
    pub blur: usize,
    /// Standard deviation of the noise that half of the images get, in grey levels; 0: none.
    pub gaussian_noise: usize,
    pub mix: Mix,
    /// A mosaic's boxes are kept within the image that they come from.
    pub mosaic_bound: bool,
    /// Images keep their aspect and get grey borders.
    pub letter_box: bool,
    /// Of detectors: fraction of the image's sides by which each edge of the cut-out moves at most.
    pub jitter: f32,
    /// Of detectors: factor of the cut-out's size, from its reciprocal to it; 1: none.
    pub resize: f32,
    /// Of detectors: the network's input changes its size in steps of `resize_step` pixels, by up to this factor.
    pub multi_scale: Option<f32>,
    /// The network's input has a multiple of this many pixels a side, where `multi_scale` changes it.
    pub resize_step: usize,
    /// Of classifiers: fraction of the target that moves from the image's class to all others.
    pub label_smooth_eps: f32,
}

/// Images made of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    None,
    /// The mean of two images.
    Mixup,
    /// A rectangle of one image in another.
    Cutmix,
    /// Four images around a point.
    Mosaic,
    /// One of the two by chance.
    CutmixOrMosaic,
}

/// How one layer is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTraining {
    /// Factor of the learning rate.
    pub learning_rate_scale: f32,
    /// Batch number from which on the layer's numbers are updated; 1: from the first, [`u64::MAX`]: never. Statistics
    /// of its batch norm move from the first.
    pub updates_from: u64,
    /// No gradient passes back through this layer; layers before it may get one by other ways.
    pub forward_only: bool,
    /// Probability that a value is set to 0; only of dropout layers.
    pub dropout: Option<f32>,
    /// Of layers that compare their input with the truth.
    pub loss: Option<LayerLoss>,
}

impl Default for LayerTraining {
    fn default() -> Self {
        Self { learning_rate_scale: 1.0, updates_from: 1, forward_only: false, dropout: None, loss: None }
    }
}

/// The loss of one layer.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerLoss {
    Yolo(YoloLoss),
    Region(RegionLoss),
    Detection(DetectionLoss),
    /// Cross-entropy of a softmax.
    Softmax,
    Cost(CostLoss),
}

/// Overlap of two boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Intersection over union.
    Iou,
    /// Rezatofighi et al. 2019.
    Giou,
    /// Zheng et al. 2019.
    Diou,
    /// Zheng et al. 2019.
    Ciou,
}

/// Loss of a YOLOv3 or YOLOv4 head.
#[derive(Debug, Clone, PartialEq)]
pub struct YoloLoss {
    /// A box that overlaps a truth by more is no negative example.
    pub ignore_thresh: f32,
    /// A box that overlaps a truth by more is a positive example.
    pub truth_thresh: f32,
    /// An anchor whose shape overlaps a truth's by more is responsible for it beside the best one; 1: the best alone.
    pub iou_thresh: f32,
    pub iou_thresh_kind: Overlap,
    /// The overlap that the box entries maximise; `None`: they minimise the squared error.
    pub overlap: Option<Overlap>,
    /// Factors of the box's, the objectness' and (where classes have weights) the class' part.
    pub iou_normalizer: f32,
    pub obj_normalizer: f32,
    pub cls_normalizer: f32,
    /// Factor of the whole gradient.
    pub delta_normalizer: f32,
    /// Bound of the box entries' gradient; only of overlaps.
    pub max_delta: Option<f32>,
    /// Truths of an image after these are not seen.
    pub max_boxes: usize,
    /// Factor of every class' positive examples; empty: none.
    pub class_weights: Vec<f32>,
    /// Fraction of the target that moves from certainty to ½.
    pub label_smooth_eps: f32,
    /// Examples that are classified well weigh less (Lin et al. 2017, γ = 2).
    pub focal: bool,
    /// The objectness follows the overlap instead of 0 and 1.
    pub objectness_smooth: bool,
}

/// Loss of a YOLOv2 head.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionLoss {
    /// A box that overlaps a truth by more is no negative example.
    pub thresh: f32,
    /// Factors of the parts.
    pub coord_scale: f32,
    pub object_scale: f32,
    pub noobject_scale: f32,
    pub class_scale: f32,
    /// The responsible anchor is found by the anchors' shapes instead of the predicted ones.
    pub bias_match: bool,
    /// The objectness of the responsible box follows its overlap instead of 1.
    pub rescore: bool,
    pub focal: bool,
    /// Truths of an image after these are not seen.
    pub max_boxes: usize,
}

/// Loss of a YOLOv1 head.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionLoss {
    /// Factors of the parts.
    pub coord_scale: f32,
    pub object_scale: f32,
    pub noobject_scale: f32,
    pub class_scale: f32,
    /// The objectness of the responsible box follows its overlap instead of 1.
    pub rescore: bool,
    /// The second box of a cell is responsible for what covers less than a tenth of the image, the first for the rest.
    pub forced: bool,
}

/// Loss between a layer's values and their targets.
#[derive(Debug, Clone, PartialEq)]
pub struct CostLoss {
    pub kind: CostKind,
    /// Factor of the gradient, not of the cost.
    pub scale: f32,
}

/// Cost of one value, by its difference `d` to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostKind {
    /// `d²`
    SquaredError,
    /// `d²` where `|d| < 1`, else `2·|d| − 1`
    Smooth,
    /// `|d|`
    Absolute,
}
