// Block RAM of `Words` × `Width` bits with one write port and one read port; data follow the read
// address by one cycle.

module npu_ram #(
  parameter  int unsigned Words    = 1024,
  parameter  int unsigned Width    = 32,
  localparam int unsigned AddrBits = $clog2(Words)
) (
  input  logic                clk_i,
  input  logic                we_i,
  input  logic [AddrBits-1:0] waddr_i,
  input  logic [   Width-1:0] wdata_i,
  input  logic                re_i,
  input  logic [AddrBits-1:0] raddr_i,
  output logic [   Width-1:0] rdata_o
);

  // Nothing uses a word that is read in the cycle in which LOAD writes it.
  (* no_rw_check *) logic [Width-1:0] mem[Words];

  always_ff @(posedge clk_i) begin
    if (we_i) mem[waddr_i] <= wdata_i;
    if (re_i) rdata_o <= mem[raddr_i];
  end

endmodule
