//! A bare-metal image that uses the whole runtime: `tests/panic_free.rs` builds it for a Cortex-M
//! and finds no panic in it, the proof that none is reachable.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use secateur_runtime::artefact::Model;
    use secateur_runtime::detect::{self, Detection};
    use secateur_runtime::{Engine, Reference};

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    /// What an application calls, with nothing known when compiling.
    #[unsafe(no_mangle)]
    extern "C" fn _start(job: &mut Job<'_>) -> usize {
        job.run().unwrap_or(0)
    }

    struct Job<'a> {
        artefact: &'a [u8],
        arena: &'a mut [u8],
        image: &'a [i8],
        threshold: u32,
        found: &'a mut [Detection],
        probabilities: &'a mut [u16],
    }

    impl Job<'_> {
        fn run(&mut self) -> Option<usize> {
            let model = Model::from_bytes(self.artefact).ok()?;
            let mut engine = Engine::with_kernels(&model, self.arena, Reference).ok()?;
            engine.run(self.image, &mut ());
            if let Some(classes) = detect::classify(&engine, self.probabilities) {
                return Some(classes);
            }
            let found = detect::decode(&engine, self.threshold, self.found);
            let suppression = model.suppression();
            let [h, w, _] = model.input_shape();
            let found = self.found.get_mut(..found.kept)?;
            Some(detect::suppress(found, &suppression, suppression.threshold, [w as u32, h as u32]))
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("build with --target thumbv7em-none-eabihf");
}
