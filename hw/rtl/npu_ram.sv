// Block RAM with one write and one read port.

module npu_ram #(
    parameter int unsigned Words = 1024,
    parameter int unsigned Width = 32,
    localparam int unsigned AddrBits = $clog2(Words)
) (
    input  logic                clk,
    input  logic                we,
    input  logic [AddrBits-1:0] waddr,
    input  logic [   Width-1:0] wdata,
    input  logic                en,
    input  logic [AddrBits-1:0] raddr,
    output logic [   Width-1:0] rdata
);

  // Nothing uses a word that is read in the cycle in which LOAD writes it.
  (* no_rw_check *) logic [Width-1:0] mem[Words];

  always_ff @(posedge clk) begin
    if (we) mem[waddr] <= wdata;
    if (en) rdata <= mem[raddr];
  end

endmodule
