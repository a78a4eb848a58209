//! Time of one image: `latency CFG WEIGHTS [--threads N] [--runs N] [--layers]`.
//!
//! Prints the median and the least time of a run in milliseconds; with `--layers` also the time of
//! every layer on its own, with its multiply-accumulates.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use secateur_float::Plan;
use secateur_frontend::darknet;
use secateur_ir::Source;

#[derive(Parser)]
struct Args {
    cfg: PathBuf,
    weights: PathBuf,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 300)]
    runs: usize,
    #[arg(long)]
    layers: bool,
}

fn main() -> secateur_base::Result<()> {
    let args = Args::parse();
    let network = darknet::load(&args.cfg, Some(&args.weights))?;
    let plan = Plan::new(&network.graph, network.weights()?)?;
    let mut scratch = plan.scratch();
    let input: Vec<f32> = (0..network.graph.input.len()).map(|i| (i % 251) as f32 / 250.0).collect();

    let times = time(args.runs, || plan.run_threaded(&mut scratch, &input, args.threads));
    println!("{:.3} ms median, {:.3} least, {} threads", times[times.len() / 2], times[0], args.threads);
    if args.layers {
        plan.load(&mut scratch, Source::Image, &input);
        for layer in 0..network.graph.nodes.len() {
            let macs = plan.range(layer, layer + 1).macs();
            let times = time(args.runs, || plan.run_range(&mut scratch, layer, layer + 1));
            let (median, name) = (times[times.len() / 2], network.graph.nodes[layer].op.name());
            let shape = network.graph.nodes[layer].shape;
            println!(
                "{layer:4} {name:16} {:3} x {:3} x {:3}  {:8.1} us  {:7.2} M  {:6.1} GMAC/s",
                shape.c,
                shape.h,
                shape.w,
                median * 1e3,
                macs as f64 * 1e-6,
                macs as f64 * 1e-6 / median
            );
        }
    }
    Ok(())
}

/// Sorted times of `runs` calls in milliseconds, after a few to warm up.
fn time(runs: usize, mut call: impl FnMut()) -> Vec<f64> {
    (0..runs / 10 + 1).for_each(|_| call());
    let mut times: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}
