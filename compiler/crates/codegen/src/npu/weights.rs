//! Weights in the order in which the array reads them.
//!
//! Dense: for each group of `rows` output channels the input channels, for each its taps row by row.
//! Depthwise: for each group of banks the taps. Where enough vectors (one input channel × one group of
//! outputs) are zero, an operation is stored sparse: zero vectors are left out, and every word tells
//! by a control byte how far on the next one's input channel is.

use super::op::{WeightGroup, WeightWord};

/// Largest distance of a control byte.
const MAX_SKIP: usize = 127;
const LAST: u8 = 0x80;

/// Weights of a convolution before they are packed.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    /// Pooling, copies.
    None,
    /// `[out][size][size][in / groups]`
    Dense { weights: Vec<i8>, inputs: usize, groups: usize },
    /// `[channels][size][size]`
    Depthwise(Vec<i8>),
}

/// Packs a dense or grouped convolution. The flag tells whether the words carry control bytes.
pub(crate) fn dense(
    weights: &[i8],
    (inputs, outputs, groups, size): (usize, usize, usize, usize),
    rows: usize,
) -> (Vec<WeightGroup>, bool) {
    let (taps, per_group) = (size * size, inputs / groups);
    let outputs_per_group = outputs / groups;
    // Zero where output and input belong to different groups of the convolution.
    let weight = |output: usize, tap: usize, input: usize| {
        let first = output / outputs_per_group * per_group;
        match input.checked_sub(first) {
            Some(within) if within < per_group => weights[(output * taps + tap) * per_group + within],
            _ => 0,
        }
    };
    let vector = |first: usize, tap: usize, input: usize| {
        let mut word = WeightWord::default();
        let count = rows.min(outputs - first);
        for (row, slot) in word.iter_mut().enumerate().take(count) {
            *slot = weight(first + row, tap, input);
        }
        word
    };
    let mut plain = Vec::new();
    let mut sparse = Vec::new();
    for first in (0..outputs).step_by(rows) {
        let channels: Vec<Vec<WeightWord>> =
            (0..inputs).map(|input| (0..taps).map(|tap| vector(first, tap, input)).collect()).collect();
        sparse.push(skip_zeros(&channels, taps));
        plain.push(WeightGroup { words: channels.concat(), control: Vec::new() });
    }
    let count = |groups: &[WeightGroup]| groups.iter().map(|group| group.words.len()).sum::<usize>();
    // A control byte costs up to an eighth more of memory: one vector in eight has to go.
    if count(&sparse) * 9 <= count(&plain) * 8 { (sparse, true) } else { (plain, false) }
}

/// Leaves out channels without weights; a group always has one.
fn skip_zeros(channels: &[Vec<WeightWord>], taps: usize) -> WeightGroup {
    let mut group = WeightGroup::default();
    let mut at = 0;
    let mut last_start = 0;
    let mut push = |input: usize, at: &mut usize| {
        last_start = group.words.len();
        group.control.extend(std::iter::repeat_n((input - *at) as u8, taps));
        group.words.extend_from_slice(&channels[input]);
        *at = input;
    };
    let has_weights = |words: &[WeightWord]| words.iter().any(|word| word.iter().any(|&w| w != 0));
    for (input, _) in channels.iter().enumerate().filter(|(_, words)| has_weights(words)) {
        // A distance that is too large is bridged by channels of zeros.
        while input - at > MAX_SKIP {
            push(at + MAX_SKIP, &mut at);
        }
        push(input, &mut at);
    }
    if group.words.is_empty() {
        group.words = vec![WeightWord::default(); taps];
        group.control = vec![0; taps];
    }
    group.control[last_start..].iter_mut().for_each(|control| *control |= LAST);
    group
}

/// Packs a depthwise convolution whose first channel is in bank `phase`.
pub(crate) fn depthwise(
    weights: &[i8],
    channels: usize,
    taps: usize,
    phase: usize,
    rows: usize,
) -> Vec<WeightGroup> {
    let groups = (phase + channels).div_ceil(rows);
    let word = |group: usize, tap: usize| {
        let mut word = WeightWord::default();
        for (row, slot) in word.iter_mut().enumerate().take(rows) {
            if let Some(channel) = (group * rows + row).checked_sub(phase).filter(|&c| c < channels) {
                *slot = weights[channel * taps + tap];
            }
        }
        word
    };
    (0..groups)
        .map(|group| WeightGroup {
            words: (0..taps).map(|tap| word(group, tap)).collect(),
            control: Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a group as the array does: `(input channel, its words)`.
    fn channels_of(group: &WeightGroup, taps: usize) -> Vec<(usize, Vec<WeightWord>)> {
        let mut at = 0;
        let mut found = Vec::new();
        for (words, control) in group.words.chunks(taps).zip(group.control.chunks(taps)) {
            at += usize::from(control[0] & !LAST);
            found.push((at, words.to_vec()));
            let last = control[0] & LAST != 0;
            assert_eq!(last, found.len() == group.words.len() / taps);
        }
        found
    }

    #[test]
    fn what_is_left_out_is_zero() {
        // 300 inputs, 11 outputs: weights on inputs 2, 3, 140 and 299 only, and none for outputs 8 to 10.
        let (inputs, outputs) = (300, 11);
        let mut weights = vec![0i8; inputs * outputs];
        for output in 0..8 {
            for (n, input) in [2, 3, 140, 299].into_iter().enumerate() {
                weights[output * inputs + input] = (output * 10 + n + 1) as i8;
            }
        }
        let (groups, sparse) = dense(&weights, (inputs, outputs, 1, 1), 8);
        assert!(sparse);
        let full: Vec<(usize, i8)> =
            channels_of(&groups[0], 1).into_iter().map(|(input, words)| (input, words[0][7])).collect();
        // 140 is further than a skip reaches from 3; so is 299 from 140.
        assert_eq!(full, [(2, 71), (3, 72), (130, 0), (140, 73), (267, 0), (299, 74)]);
        assert_eq!(channels_of(&groups[1], 1), [(0, vec![WeightWord::default()])]);
    }

    #[test]
    fn grouped_convolutions_read_their_own_inputs_only() {
        let weights: Vec<i8> = (1..=32).collect();
        let (groups, sparse) = dense(&weights, (16, 8, 4, 1), 4);
        assert!(sparse);
        // Outputs 0 to 3 are groups 0 and 1 of the convolution: inputs 0 to 7.
        let first = channels_of(&groups[0], 1);
        assert_eq!(first.len(), 8);
        assert_eq!(first[0].1[0][..4], [1, 5, 0, 0]);
        assert_eq!(first[4].1[0][..4], [0, 0, 9, 13]);
        assert_eq!(channels_of(&groups[1], 1)[0].0, 8);
    }
}
