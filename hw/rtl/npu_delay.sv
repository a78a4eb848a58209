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
  logic [AddrBits-1:0] place_q, oldest;
  assign oldest = place_q - AddrBits'(Cycles - 1);
  always_ff @(posedge clk) place_q <= rst ? '0 : place_q + AddrBits'(1);

  if (Block) begin : gen_block
    (* ram_style = "block", no_rw_check *) logic [Width-1:0] mem[2**AddrBits];
    always_ff @(posedge clk) begin
      mem[place_q] <= in;
      out <= mem[oldest];
    end
  end else begin : gen_distributed
    logic [Width-1:0] mem[2**AddrBits];
    always_ff @(posedge clk) begin
      mem[place_q] <= in;
      out <= mem[oldest];
    end
  end

endmodule
