// npu_ports: who gets a bank's second port, and that every reader gets what was written last.
//
// One byte of one word is followed (any of them: its place is chosen once). Priorities are equations: a
// client waits if and only if one before it wants the same bank in the same cycle.
module prove_ports (
  input logic                                   clk,
  input logic                                   rst,
  input logic [npu_pkg::Rows-1:0]               op_en,
  input logic [npu_pkg::BankAddrBits-1:0]       op_addr,
  input logic                                   wr_valid,
  input logic [npu_pkg::RowBits-1:0]            wr_bank,
  input logic [npu_pkg::BankAddrBits-1:0]       wr_addr,
  input logic [127:0]                           wr_data,
  input logic [15:0]                            wr_be,
  input logic                                   rs_request,
  input logic [npu_pkg::RowBits-1:0]            rs_bank,
  input logic [npu_pkg::BankAddrBits-1:0]       rs_addr,
  input logic                                   ld_valid,
  input logic [npu_pkg::RowBits-1:0]            ld_bank,
  input logic [npu_pkg::BankAddrBits-1:0]       ld_addr,
  input logic [127:0]                           ld_data,
  input logic [15:0]                            ld_be,
  input logic                                   st_valid,
  input logic [npu_pkg::RowBits-1:0]            st_bank,
  input logic [npu_pkg::BankAddrBits-1:0]       st_addr,
  // The byte that is followed.
  input logic [npu_pkg::RowBits-1:0]            chosen_bank,
  input logic [npu_pkg::BankAddrBits-1:0]       chosen_addr,
  input logic [3:0]                             chosen_byte
);
  logic [127:0] op_data[npu_pkg::Rows];
  logic         rs_grant, rs_answer, ld_ready, st_ready, st_rvalid;
  logic [127:0] rs_data, st_rdata;

  npu_ports u_ports (.*);

  logic begun_q = 1'b0;
  logic [npu_pkg::RowBits-1:0]      bank_q;
  logic [npu_pkg::BankAddrBits-1:0] addr_q;
  logic [3:0]                       byte_q;

  // The byte, once it has been written.
  logic       known_q, wr_here, ld_here;
  logic [7:0] value_q;
  assign wr_here = wr_valid && wr_bank == bank_q && wr_addr == addr_q;
  assign ld_here = ld_valid && ld_ready && ld_bank == bank_q && ld_addr == addr_q;

  // Reads of it under way.
  logic [2:1]      rs_q, st_q, rs_here_q, st_here_q;
  logic            op_here_q;
  logic [2:1][7:0] rs_value_q, st_value_q;
  logic [7:0]      op_value_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (!begun_q) begin
      bank_q  <= chosen_bank;
      addr_q  <= chosen_addr;
      byte_q  <= chosen_byte;
      known_q <= 1'b0;
    end else if (wr_here && wr_be[byte_q]) begin
      known_q <= 1'b1;
      value_q <= wr_data[8*byte_q +: 8];
    end else if (ld_here && ld_be[byte_q]) begin
      known_q <= 1'b1;
      value_q <= ld_data[8*byte_q +: 8];
    end
    rs_q       <= {rs_q[1], rs_grant};
    st_q       <= {st_q[1], st_valid && st_ready};
    rs_here_q  <= {rs_here_q[1], known_q && rs_grant && rs_bank == bank_q && rs_addr == addr_q};
    st_here_q  <= {st_here_q[1], known_q && st_valid && st_ready && st_bank == bank_q && st_addr == addr_q};
    op_here_q  <= begun_q && known_q && op_en[bank_q] && op_addr == addr_q;
    rs_value_q <= {rs_value_q[1], value_q};
    st_value_q <= {st_value_q[1], value_q};
    op_value_q <= value_q;
    if (rst) begin
      rs_q      <= '0;
      st_q      <= '0;
      rs_here_q <= '0;
      st_here_q <= '0;
    end
  end

  // The bank holds the byte: what the induction needs.
  for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_bank
    always_comb begin
      if (begun_q && known_q && bank_q == npu_pkg::RowBits'(r))
        assert (u_ports.gen_bank[r].u_bank.mem[addr_q][8*byte_q +: 8] == value_q);
    end
  end

  logic wr_wants_rs, wr_wants_ld, wr_wants_st;
  assign wr_wants_rs = wr_valid && wr_bank == rs_bank;
  assign wr_wants_ld = wr_valid && wr_bank == ld_bank;
  assign wr_wants_st = wr_valid && wr_bank == st_bank;

  always_comb begin
    if (!begun_q) assume (rst);
    // Commands are free of hazards: no operand is read in the cycle in which it is written; only LOAD
    // writes no byte at all, nobody asks for that.
    if (op_en[bank_q] && op_addr == addr_q) assume (!wr_here && !ld_here);
    assume (ld_be != '0 && (wr_be != '0 || !wr_valid));

    if (begun_q) begin
      assert (rs_grant == (rs_request && !wr_wants_rs));
      if (ld_valid) assert (ld_ready == !(wr_wants_ld || (rs_request && rs_bank == ld_bank)));
      if (st_valid)
        assert (st_ready == !(wr_wants_st || (rs_request && rs_bank == st_bank) || (ld_valid && ld_bank == st_bank)));
      // Answers come two cycles after the grant, no more and no fewer.
      assert (rs_answer == rs_q[2] && st_rvalid == st_q[2]);
      if (rs_here_q[2]) assert (rs_data[8*byte_q +: 8] == rs_value_q[2]);
      if (st_here_q[2]) assert (st_rdata[8*byte_q +: 8] == st_value_q[2]);
      if (op_here_q) assert (op_data[bank_q][8*byte_q +: 8] == op_value_q);

      cover (rs_here_q[2] && st_here_q[1] && op_here_q);
      cover (ld_valid && !ld_ready && !wr_valid);
    end
  end
endmodule
