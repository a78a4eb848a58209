// The map banks and who may use their second port: results, second map, LOAD, STORE, in this order.

module npu_ports (
    input  logic                                                clk,
    input  logic                                                rst,
    // First port: operands.
    input  logic [         npu_pkg::Rows-1:0]                   op_en,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   op_addr,
    output logic [127:0] op_data[npu_pkg::Rows],
    // Results: always taken.
    input  logic                                                wr_valid,
    input  logic [      npu_pkg::RowBits-1:0]                   wr_bank,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   wr_addr,
    input  logic [                     127:0]                   wr_data,
    input  logic [                      15:0]                   wr_be,
    // Second map.
    input  logic                                                rs_request,
    input  logic [      npu_pkg::RowBits-1:0]                   rs_bank,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   rs_addr,
    output logic                                                rs_grant,
    output logic                                                rs_answer,
    output logic [                     127:0]                   rs_data,
    // LOAD.
    input  logic                                                ld_valid,
    output logic                                                ld_ready,
    input  logic [      npu_pkg::RowBits-1:0]                   ld_bank,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   ld_addr,
    input  logic [                     127:0]                   ld_data,
    input  logic [                      15:0]                   ld_be,
    // STORE.
    input  logic                                                st_valid,
    output logic                                                st_ready,
    input  logic [      npu_pkg::RowBits-1:0]                   st_bank,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   st_addr,
    output logic                                                st_rvalid,
    output logic [                     127:0]                   st_rdata
);

  localparam int unsigned Rows = npu_pkg::Rows;

  logic rs_clear, ld_clear;
  assign rs_clear = !(wr_valid && wr_bank == rs_bank);
  assign rs_grant = rs_request && rs_clear;
  assign ld_clear = !(wr_valid && wr_bank == ld_bank) && !(rs_request && rs_bank == ld_bank);
  assign ld_ready = ld_clear;
  assign st_ready = !(wr_valid && wr_bank == st_bank) && !(rs_request && rs_bank == st_bank)
      && !(ld_valid && ld_bank == st_bank);

  logic [127:0] b_data[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    logic wr, rs, ld, st;
    logic [15:0] we;
    logic [npu_pkg::BankAddrBits-1:0] addr;
    assign wr = wr_valid && wr_bank == npu_pkg::RowBits'(r);
    assign rs = rs_request && rs_bank == npu_pkg::RowBits'(r);
    assign ld = ld_valid && ld_bank == npu_pkg::RowBits'(r);
    assign st = st_valid && st_bank == npu_pkg::RowBits'(r);
    always_comb begin
      we   = '0;
      addr = st_addr;
      if (wr) begin
        we   = wr_be;
        addr = wr_addr;
      end else if (rs) addr = rs_addr;
      else if (ld) begin
        we   = ld_be;
        addr = ld_addr;
      end
    end
    npu_bank #(
        .Words(npu_pkg::BankWords),
        .Bytes(npu_pkg::Lanes)
    ) u_bank (
        .clk,
        .a_en(op_en[r]),
        .a_addr(op_addr),
        .a_rdata(op_data[r]),
        .b_en(wr || rs || ld || st),
        .b_we(we),
        .b_addr(addr),
        .b_wdata(wr ? wr_data : ld_data),
        .b_rdata(b_data[r])
    );
  end

  // A bank's data one cycle after the grant, registered once more behind the selection.
  logic rs_flight_q, st_flight_q;
  logic [npu_pkg::RowBits-1:0] rs_bank_q, st_bank_q;
  always_ff @(posedge clk) begin
    rs_flight_q <= rs_grant;
    rs_bank_q <= rs_bank;
    rs_answer <= rs_flight_q;
    if (rs_flight_q) rs_data <= b_data[rs_bank_q];
    st_flight_q <= st_valid && st_ready;
    st_bank_q <= st_bank;
    st_rvalid <= st_flight_q;
    if (st_flight_q) st_rdata <= b_data[st_bank_q];
    if (rst) begin
      rs_flight_q <= 1'b0;
      rs_answer <= 1'b0;
      st_flight_q <= 1'b0;
      st_rvalid <= 1'b0;
    end
  end

endmodule
