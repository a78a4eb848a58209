//! A bare-metal image that runs an artefact on the tiled kernels, or with feature `armv7em` on those of Cortex-M4 and M7:
//! `tests/panic_free.rs` builds it for a Cortex-M and finds no panic in it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    #[cfg(feature = "armv7em")]
    use secateur_kernels::Thumb as Tuned;
    #[cfg(not(feature = "armv7em"))]
    use secateur_kernels::Tiled as Tuned;
    use secateur_runtime::Engine;
    use secateur_runtime::artefact::Model;

    const TUNED: Tuned = Tuned;

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    /// What an application calls, with nothing known when compiling.
    #[unsafe(no_mangle)]
    extern "C" fn _start(job: &mut Job<'_>) -> bool {
        job.run().is_some()
    }

    struct Job<'a> {
        artefact: &'a [u8],
        arena: &'a mut [u8],
        image: &'a [i8],
    }

    impl Job<'_> {
        fn run(&mut self) -> Option<()> {
            let model = Model::from_bytes(self.artefact).ok()?;
            let mut engine = Engine::with_kernels(&model, self.arena, TUNED).ok()?;
            engine.run(self.image, &mut ());
            Some(())
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("build with --target thumbv7em-none-eabihf");
}
