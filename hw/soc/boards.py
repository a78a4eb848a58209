"""Boards that a system is built for: what `generate.py` needs of each, out of LiteX's own descriptions.

A board has a platform (device and pins), clocks, and its memory's interface. Its name here is that of the target file
in configs/targets, which states the accelerator, the memory's kind and the clock.
"""

from litedram import modules
from litedram.phy import ECP5DDRPHY, HalfRateGENSDRPHY
from litespi.modules import IS25LP128
from litespi.opcodes import SpiNorFlashOpCodes
from litespi.phy.generic import LiteSPIPHY
from litex_boards.targets import lambdaconcept_ecpix5, radiona_ulx3s

# Commands and size of the flash. Every chip on these boards knows them, with one data wire and 24 bits of address,
# without being set up first; what it has more is not used.
FLASH = IS25LP128(SpiNorFlashOpCodes.READ_1_1_1_FAST)
# Where a job lies in the flash: behind any bitstream of an LFE5U-85F (1.9 MiB uncompressed).
JOB = 0x40_0000
# Of the SPI clock, in Hz: below the limit of fast reads, and of what the wires on a board pass.
FLASH_CLOCK = 25e6


class Board:
    """What both boards share: a flash that is configured from, and a serial line."""

    uart = "serial"
    # Bytes of block RAM for the firmware.
    rom = 0x2_0000

    def add_flash(self, system, address):
        """The flash at `address`; returns where the job lies in it, and its bytes."""
        divisor = -(-int(system.sys_clk_freq) // int(2 * FLASH_CLOCK)) - 1
        system.spiflash_phy = LiteSPIPHY(
            self.platform.request("spiflash"), FLASH, device=self.platform.device, default_divisor=divisor)
        system.mem_map["spiflash"] = address
        system.add_spi_flash(mode="1x", module=FLASH, phy=system.spiflash_phy, with_master=False)
        return address + JOB, FLASH.total_size - JOB


class Ulx3s(Board):
    """Radiona ULX3S with an LFE5U-85F and 32 MiB of SDRAM, whose 16 bits move at twice the system's clock."""

    def __init__(self):
        self.platform = radiona_ulx3s.radiona_ulx3s.Platform(device="LFE5U-85F", toolchain="trellis")

    def clocks(self, clock):
        return radiona_ulx3s._CRG(self.platform, clock, sdram_rate="1:2")

    def memory(self, system, clock):
        return HalfRateGENSDRPHY(self.platform.request("sdram"), clock), modules.MT48LC16M16(clock, "1:2")


class Ecpix5(Board):
    """LambdaConcept ECPIX-5 with an LFE5UM5G-85F and 512 MiB of DDR3."""

    # The accelerator leaves no more.
    rom = 0x1_0000

    def __init__(self):
        self.platform = lambdaconcept_ecpix5.lambdaconcept_ecpix5.Platform(device="85F", toolchain="trellis")

    def clocks(self, clock):
        return lambdaconcept_ecpix5._CRG(self.platform, clock)

    def memory(self, system, clock):
        phy = ECP5DDRPHY(self.platform.request("ddram"), sys_clk_freq=clock)
        system.comb += [system.crg.stop.eq(phy.init.stop), system.crg.reset.eq(phy.init.reset)]
        return phy, modules.MT41K256M16(clock, "1:2")


BOARDS = {"ulx3s-85f": Ulx3s, "ecpix5-85f": Ecpix5}


def constraints(platform, namespace):
    """Pins and clocks of a finished design, for nextpnr (an LPF file)."""
    toolchain = platform.toolchain
    platform.add_period_constraint(platform.lookup_request(platform.default_clk_name), platform.default_clk_period)
    toolchain.named_sc, toolchain.named_pc = platform.resolve_signals(namespace)
    toolchain._build_name = "soc"
    toolchain.build_io_constraints()


def device(platform):
    """The device as nextpnr's options name it."""
    toolchain = platform.toolchain
    family, size, speed, package = toolchain.nextpnr_ecp5_parse_device(platform.device)
    return {"size": toolchain.nextpnr_ecp5_architectures[f"{family}-{size}"], "speed": speed, "package": package}
