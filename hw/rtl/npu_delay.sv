// Delays a word by a fixed number of cycles, in distributed or block RAM.

module npu_delay #(
    parameter int unsigned Width  = 8,
    parameter int unsigned Cycles = 8,  // 2 to 16
    // Wide words would take much distributed RAM.
    parameter bit Block = 1'b0
) (
    input  logic             clk,
    input  logic             rst,
    input  logic [Width-1:0] in,
    output logic [Width-1:0] out
);

  localparam int unsigned AddrBits = $clog2(Cycles);

  // Read before it is written again; the register behind it is the last cycle.
  logic [AddrBits-1:0] place_q, next;
  assign next = rst ? '0 : place_q + AddrBits'(1);
  always_ff @(posedge clk) place_q <= next;

  // Each block has its own place: blocks stand all over the device.
  localparam int unsigned Part = Block && Width > 36 ? 36 : Width;
  for (genvar first = 0; first < Width; first += Part) begin : gen_part
    localparam int unsigned Bits = Width - first < Part ? Width - first : Part;
    if (Block) begin : gen_block
      logic [AddrBits-1:0] write_q, read_q;
      npu_replica #(
          .Width(2 * AddrBits)
      ) u_place (
          .clk,
          .in ({next, next - AddrBits'(Cycles - 1)}),
          .out({write_q, read_q})
      );
      (* ram_style = "block", no_rw_check *) logic [Bits-1:0] mem[2**AddrBits];
      always_ff @(posedge clk) begin
        mem[write_q] <= in[first+:Bits];
        out[first+:Bits] <= mem[read_q];
      end
    end else begin : gen_distributed
      logic [AddrBits-1:0] oldest;
      assign oldest = place_q - AddrBits'(Cycles - 1);
      logic [Bits-1:0] mem[2**AddrBits];
      always_ff @(posedge clk) begin
        mem[place_q] <= in[first+:Bits];
        out[first+:Bits] <= mem[oldest];
      end
    end
  end

endmodule
