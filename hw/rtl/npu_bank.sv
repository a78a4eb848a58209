// One map bank: true dual port block RAM; port A reads, port B reads or writes bytes. Both are always
// enabled, so that a register behind them can be the block RAM's own.

module npu_bank #(
    parameter int unsigned Words = 1024,
    parameter int unsigned Bytes = 16,
    localparam int unsigned AddrBits = $clog2(Words)
) (
    input  logic                clk,
    input  logic [AddrBits-1:0] a_addr,
    output logic [ 8*Bytes-1:0] a_rdata,
    input  logic [   Bytes-1:0] b_we,
    input  logic [AddrBits-1:0] b_addr,
    input  logic [ 8*Bytes-1:0] b_wdata,
    output logic [ 8*Bytes-1:0] b_rdata
);

  // No command reads a word in the cycle in which another writes it.
  (* no_rw_check *) logic [8*Bytes-1:0] mem[Words] /*verilator public_flat_rw*/;

  always_ff @(posedge clk) a_rdata <= mem[a_addr];
  always_ff @(posedge clk) begin
    for (int unsigned i = 0; i < Bytes; i++) begin
      if (b_we[i]) mem[b_addr][8*i+:8] <= b_wdata[8*i+:8];
    end
    b_rdata <= mem[b_addr];
  end

endmodule
