//! The processor's program: which layers are computed, which are mere addressing, and where in the arena
//! every tensor is located.

use std::time::{Duration, Instant};

pub mod bands;
pub(crate) mod fit;
pub mod instructions;
pub mod packing;
mod passes;
mod patch;
pub mod program;
mod row_lives;

pub use patch::Patch;
pub use program::CpuProgram;

use crate::target::Target;
use secateur_base::{Error, Result};
use secateur_quant::QNet;

/// The passes in the order in which they run.
pub const PASSES: [&str; 4] = ["import", "views", "in-place", "place"];

/// The arena's search draws from this seed: the plan depends on the network alone.
const SEED: u64 = 1;

/// Lowers a network for a target. Errors name the layer that the target cannot run.
pub fn lower<'a>(net: &'a QNet, target: &Target) -> Result<CpuProgram<'a>> {
    lower_observed(net, target, |_, _, _| {})
}

/// [`lower`], telling `observe` each pass's name, its time and the program after it.
pub fn lower_observed<'a>(
    net: &'a QNet,
    target: &Target,
    observe: impl FnMut(&str, Duration, &CpuProgram<'a>),
) -> Result<CpuProgram<'a>> {
    let program = run_passes(net, target, None, observe)?;
    fit::arena(&program, target)?;
    Ok(program)
}

/// [`lower_observed`] with the first layers in bands, where that needs less RAM.
pub fn lower_patched<'a>(
    net: &'a QNet,
    target: &Target,
    patch: Patch,
    observe: impl FnMut(&str, Duration, &CpuProgram<'a>),
) -> Result<CpuProgram<'a>> {
    check_operators(net, target)?;
    let stage = patch::choose(net, target, patch);
    let program = run_passes(net, target, stage, observe)?;
    fit::arena(&program, target)?;
    Ok(program)
}

/// [`lower`] without bands, whatever memory the target has.
pub(crate) fn lower_unlimited<'a>(net: &'a QNet, target: &Target) -> Result<CpuProgram<'a>> {
    run_passes(net, target, None, |_, _, _| {})
}

fn run_passes<'a>(
    net: &'a QNet,
    target: &Target,
    stage: Option<bands::Stage>,
    mut observe: impl FnMut(&str, Duration, &CpuProgram<'a>),
) -> Result<CpuProgram<'a>> {
    check_operators(net, target)?;
    let mut program = CpuProgram::new(net, target.align, target.weights);
    program.stage = stage;
    for name in PASSES {
        let started = Instant::now();
        match name {
            "views" => passes::views(&mut program),
            "in-place" => passes::in_place(&mut program),
            "place" => {
                if stage.is_none() {
                    passes::workspace(&mut program);
                }
                passes::place(&mut program, SEED);
            }
            _ => {}
        }
        let took = started.elapsed();
        if cfg!(debug_assertions) {
            program.verify()?;
        }
        tracing::debug!("pass {name}: {took:?}");
        observe(name, took, &program);
    }
    Ok(program)
}

fn check_operators(net: &QNet, target: &Target) -> Result<()> {
    for (layer, node) in net.nodes.iter().enumerate() {
        let operator = node.op.name();
        if !target.runs(operator) {
            let runs: Vec<&str> = target.operators().map_or(Vec::new(), Iterator::collect);
            let error = Error::new(format!("target {} does not run this operator", target.name))
                .allowed(runs.join(", "));
            return Err(net.locate(layer, error));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::program::{LayerAction, value};
    use crate::random;
    use proptest::prelude::*;

    /// The host's target with weights in an order of kernels.
    fn armv7em() -> Target {
        let text = "name = \"m4\"\nalign = 16\noperators = \"all\"\nweights = \"armv7em\"";
        Target::parse(std::path::Path::new("m4.toml"), text).unwrap()
    }

    fn host() -> Target {
        Target::load("host").unwrap()
    }

    /// Runs a program symbolically: every byte holds the value and channel that was written last.
    /// Whatever is read must still be what its producer wrote.
    fn check_bytes(program: &CpuProgram<'_>) {
        let arena = program.arena.as_ref().unwrap();
        let live = program.live_storages();
        let mut memory = vec![(usize::MAX, 0usize); arena.bytes];
        let address = |v: usize, index: usize| {
            let (place, c) = (program.allocations[v], program.shape(v).c);
            let at = live.iter().position(|(s, _)| *s == place.storage).unwrap();
            let pitch = program.storages[place.storage].shape.c;
            arena.offsets[at] + index / c * pitch + place.channel + index % c
        };
        // The content of element `index` of a value: the producer's (value, element).
        fn origin(program: &CpuProgram<'_>, v: usize, index: usize) -> (usize, usize) {
            if v == 0 || !matches!(program.actions[v - 1], LayerAction::View | LayerAction::Concat { .. }) {
                return (v, index);
            }
            let node = &program.net.nodes[v - 1];
            let c = program.shape(v).c;
            let (pixel, channel) = (index / c, index % c);
            let secateur_quant::net::QOp::Route(route) = &node.op else {
                return origin(program, value(node.inputs[0]), index);
            };
            let mut first = 0;
            for (position, &input) in node.inputs.iter().enumerate() {
                let count = program.slice_channels(v - 1, position);
                if channel < first + count {
                    if route.rescale[position].is_some() {
                        return (v, index);
                    }
                    let from = value(input);
                    let in_channel = route.group_id * count + channel - first;
                    return origin(program, from, pixel * program.shape(from).c + in_channel);
                }
                first += count;
            }
            unreachable!("channel beyond the concatenation")
        }
        let read = |memory: &[(usize, usize)], v: usize, when: usize| {
            for index in 0..program.shape(v).len() {
                assert_eq!(memory[address(v, index)], origin(program, v, index), "value {v} at tick {when}");
            }
        };
        for index in 0..program.shape(0).len() {
            memory[address(0, index)] = (0, index);
        }
        for layer in 0..program.actions.len() {
            let v = layer + 1;
            for input in program.inputs(layer) {
                read(&memory, input, v);
            }
            match &program.actions[layer] {
                LayerAction::View => {}
                LayerAction::Concat { copied } => {
                    for index in 0..program.shape(v).len() {
                        let channel = index % program.shape(v).c + program.allocations[v].channel;
                        let writes = copied.iter().any(|&position| {
                            let first = program.concat_channel(layer, position);
                            (first..first + program.slice_channels(layer, position)).contains(&channel)
                        });
                        if writes {
                            memory[address(v, index)] = origin(program, v, index);
                        }
                    }
                }
                LayerAction::Compute | LayerAction::InPlace(_) => {
                    for index in 0..program.shape(v).len() {
                        memory[address(v, index)] = (v, index);
                    }
                }
            }
            // The hook may look at every layer's output when it is done.
            read(&memory, v, v);
        }
        for head in program.net.heads() {
            read(&memory, head + 1, program.end());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn every_read_finds_what_was_written(seed: u64, layers in 2usize..30) {
            let net = random::network(seed, layers);
            let program = lower_observed(&net, &host(), |name, _, program| {
                program.verify().unwrap_or_else(|e| panic!("after {name}: {e}"));
            }).unwrap();
            let bytes = program.arena.as_ref().unwrap().bytes;
            prop_assert!(bytes >= program.lower_bound() && program.lower_bound() >= program.least_bytes);
            check_bytes(&program);
            // The same with workspace, which no tensor's bytes may share while its layer runs.
            let packed = lower(&net, &armv7em()).unwrap();
            packed.verify().unwrap();
            check_bytes(&packed);
        }
    }

    #[test]
    fn arenas_are_near_the_bound_even_where_concatenations_tangle() {
        let mut over: Vec<f64> = (0..400)
            .map(|seed| {
                let net = random::network(seed, 10 + seed as usize % 40);
                let program = lower(&net, &host()).unwrap();
                program.arena.as_ref().unwrap().bytes as f64 / program.least_bytes as f64
            })
            .collect();
        over.sort_by(f64::total_cmp);
        // The bound allows a gap between any values; interleaved channels cannot always have it.
        assert!(over[200] <= 1.05 && over[360] <= 1.2, "median {}, 90 % {}", over[200], over[360]);
    }

    #[test]
    fn a_target_refuses_what_it_cannot_run() {
        let net = random::network(3, 20);
        let text = "name = \"tiny\"\nalign = 16\noperators = [\"maxpool\"]";
        let target = Target::parse(std::path::Path::new("tiny.toml"), text).unwrap();
        let error = lower(&net, &target).unwrap_err();
        assert_eq!(error.at_layer(), Some(0));
    }

    #[test]
    fn what_does_not_fit_is_told_with_peak_and_remedy() {
        let net = random::network(3, 20);
        let lowered = lower(&net, &host()).unwrap();
        let (bytes, (tick, live)) = (lowered.arena.as_ref().unwrap().bytes, lowered.fullest_tick());
        assert_eq!(live, lowered.lower_bound());
        let regions = |arena: usize| {
            let text = format!(
                "name = \"tiny\"\nalign = 16\noperators = \"all\"\n[regions]\nprogram = {{ bytes = 1 }}\n\
                 package = {{ bytes = 1 }}\ndata = {{ bytes = 1 }}\narena = {{ bytes = {arena} }}"
            );
            Target::parse(std::path::Path::new("tiny.toml"), &text).unwrap()
        };
        lower(&net, &regions(bytes)).unwrap();
        let error = lower(&net, &regions(bytes - 1)).unwrap_err();
        let text = format!("{error:?}");
        for part in
            [format!("{bytes} bytes: 1 too many"), format!("{} bytes", bytes - 1), "about 99 %".to_owned()]
        {
            assert!(text.contains(&part), "{part} is not in {text}");
        }
        assert_eq!(error.at_layer(), Some(tick - 1));
        let error = fit::artefact(3, &regions(bytes)).unwrap_err();
        assert!(format!("{error:?}").contains("3 bytes: 2 too many"), "{error:?}");
        fit::artefact(1, &regions(bytes)).unwrap();
    }
}
