// One feature-map bank: true dual-port block RAM of `Words` vectors. Port A reads, port B reads or
// writes bytes.
//
// Both ports are always enabled, so that a register behind either can be the block RAM's own.

module npu_bank #(
  parameter  int unsigned Words    = 1024,
  parameter  int unsigned Bytes    = 16,
  localparam int unsigned AddrBits = $clog2(Words)
) (
  input  logic                clk_i,
  input  logic [AddrBits-1:0] a_addr_i,
  output logic [ 8*Bytes-1:0] a_rdata_o,
  input  logic [   Bytes-1:0] b_we_i,
  input  logic [AddrBits-1:0] b_addr_i,
  input  logic [ 8*Bytes-1:0] b_wdata_i,
  output logic [ 8*Bytes-1:0] b_rdata_o
);

  // No command reads a vector in the cycle in which another command writes it.
  (* no_rw_check *) logic [8*Bytes-1:0] mem[Words]  /*verilator public_flat_rw*/;

  always_ff @(posedge clk_i) a_rdata_o <= mem[a_addr_i];
  always_ff @(posedge clk_i) begin
    for (int unsigned i = 0; i < Bytes; i++) begin
      if (b_we_i[i]) mem[b_addr_i][8*i+:8] <= b_wdata_i[8*i+:8];
    end
    b_rdata_o <= mem[b_addr_i];
  end

endmodule
