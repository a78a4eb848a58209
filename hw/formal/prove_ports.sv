// npu_ports: who gets a bank's second port, and that every reader gets what was written last.
//
// One byte of one word is followed (any of them: its place is chosen once). Priorities are equations: a
// client waits if and only if one before it wants the same bank in the same cycle.
module prove_ports
  import npu_pkg::*;
(
  input logic                                   clk,
  input logic                                   rst,
  input logic [Rows-1:0]                        op_en,
  input logic [BankAddrBits-1:0]                op_addr,
  input logic [DrainRows-1:0]                   wr_valid,
  input logic [DrainRows-1:0][RowBits-1:0]      wr_bank,
  input logic [DrainRows-1:0][BankAddrBits-1:0] wr_addr,
  input logic [DrainRows-1:0][8*Lanes-1:0]      wr_data,
  input logic [Lanes-1:0]                       wr_be,
  input logic [DrainRows-1:0]                   rs_request,
  input logic [DrainRows-1:0][RowBits-1:0]      rs_bank,
  input logic [DrainRows-1:0][BankAddrBits-1:0] rs_addr,
  input logic                                   ld_valid,
  input logic [RowBits-1:0]                     ld_bank,
  input logic [BankAddrBits-1:0]                ld_addr,
  input logic [8*Lanes-1:0]                     ld_data,
  input logic [Lanes-1:0]                       ld_be,
  input logic                                   st_valid,
  input logic [RowBits-1:0]                     st_bank,
  input logic [BankAddrBits-1:0]                st_addr,
  // The byte that is followed.
  input logic [RowBits-1:0]                     chosen_bank,
  input logic [BankAddrBits-1:0]                chosen_addr,
  input logic [LaneBits-1:0]                    chosen_byte
);
  logic [8*Lanes-1:0]                op_data[Rows];
  logic                              rs_grant, rs_answer, ld_ready, st_ready, st_rvalid;
  logic [DrainRows-1:0][8*Lanes-1:0] rs_data;
  logic [8*Lanes-1:0]                st_rdata;

  npu_ports u_ports (.*);

  logic begun_q = 1'b0;
  logic [RowBits-1:0]      bank_q;
  logic [BankAddrBits-1:0] addr_q;
  logic [LaneBits-1:0]     byte_q;

  // The byte, once it has been written.
  logic       known_q, wr_here, ld_here;
  logic [7:0] value_q, wr_value;
  assign ld_here = ld_valid && ld_ready && ld_bank == bank_q && ld_addr == addr_q;
  always_comb begin
    wr_here  = 1'b0;
    wr_value = '0;
    for (int unsigned d = 0; d < DrainRows; d++) begin
      if (wr_valid[d] && wr_bank[d] == bank_q && wr_addr[d] == addr_q) begin
        wr_here  = 1'b1;
        wr_value = wr_data[d][8*byte_q +: 8];
      end
    end
  end

  // A client before it wants the bank.
  function automatic logic wanted(input logic [DrainRows-1:0] valid, input logic [DrainRows-1:0][RowBits-1:0] banks,
                                  input logic [RowBits-1:0] bank);
    wanted = 1'b0;
    for (int unsigned d = 0; d < DrainRows; d++) if (valid[d] && banks[d] == bank) wanted = 1'b1;
  endfunction
  logic rs_blocked;
  always_comb begin
    rs_blocked = 1'b0;
    for (int unsigned d = 0; d < DrainRows; d++)
      if (rs_request[d] && wanted(wr_valid, wr_bank, rs_bank[d])) rs_blocked = 1'b1;
  end

  // Reads of it under way.
  logic [4:1]                st_q, st_here_q, rs_q;
  logic [4:1][DrainRows-1:0] rs_here_q;
  logic [4:1][7:0]           value_past_q;
  logic [2:1]                op_here_q;
  logic                      written_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (!begun_q) begin
      bank_q  <= chosen_bank;
      addr_q  <= chosen_addr;
      byte_q  <= chosen_byte;
      known_q <= 1'b0;
    end else if (wr_here && wr_be[byte_q]) begin
      known_q <= 1'b1;
      value_q <= wr_value;
    end else if (ld_here && ld_be[byte_q]) begin
      known_q <= 1'b1;
      value_q <= ld_data[8*byte_q +: 8];
    end
    rs_q           <= {rs_q[3:1], rs_grant};
    st_q           <= {st_q[3:1], st_valid && st_ready};
    rs_here_q[4:2] <= rs_here_q[3:1];
    for (int unsigned d = 0; d < DrainRows; d++)
      rs_here_q[1][d] <= known_q && rs_grant && rs_request[d] && rs_bank[d] == bank_q && rs_addr[d] == addr_q;
    st_here_q    <= {st_here_q[3:1], known_q && st_valid && st_ready && st_bank == bank_q && st_addr == addr_q};
    op_here_q    <= {begun_q && op_here_q[1], begun_q && known_q && op_en[bank_q] && op_addr == addr_q};
    value_past_q <= {value_past_q[3:1], value_q};
    // What is taken is written a cycle later.
    written_q    <= begun_q && known_q;
    if (rst) begin
      rs_q      <= '0;
      st_q      <= '0;
      rs_here_q <= '0;
      st_here_q <= '0;
    end
  end

  // The bank holds the byte: what the induction needs.
  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    always_comb begin
      if (begun_q && written_q && known_q && bank_q == RowBits'(r))
        assert (u_ports.gen_bank[r].u_bank.mem[addr_q][8*byte_q +: 8] == value_past_q[1]);
      if (begun_q && op_here_q[1] && bank_q == RowBits'(r)) assert (u_ports.gen_bank[r].op_addr_q == addr_q);
    end
  end

  always_comb begin
    if (!begun_q) assume (rst);
    // Commands are free of hazards: no operand is read in the cycle in which it is written (both a cycle on).
    // Nobody writes without a byte.
    if (op_en[bank_q] && op_addr == addr_q) assume (!wr_here && !ld_here);
    assume (ld_be != '0 && (wr_be != '0 || wr_valid == '0));
    // Rows of one cycle: results in different banks; a bank is asked for one word.
    if (DrainRows == 2) begin
      assume (!(wr_valid == '1 && wr_bank[0] == wr_bank[DrainRows-1]));
      assume (!(rs_request == '1 && rs_bank[0] == rs_bank[DrainRows-1] && rs_addr[0] != rs_addr[DrainRows-1]));
    end

    if (begun_q) begin
      assert (rs_grant == (rs_request != '0 && !rs_blocked));
      if (ld_valid)
        assert (ld_ready == !(wanted(wr_valid, wr_bank, ld_bank) || wanted(rs_request, rs_bank, ld_bank)));
      if (st_valid)
        assert (st_ready == !(wanted(wr_valid, wr_bank, st_bank) || rs_request != '0
          || (ld_valid && ld_bank == st_bank)));
      // Answers come four cycles after the grant, no more and no fewer.
      assert (rs_answer == rs_q[4] && st_rvalid == st_q[4]);
      for (int unsigned d = 0; d < DrainRows; d++)
        if (rs_here_q[4][d]) assert (rs_data[d][8*byte_q +: 8] == value_past_q[4]);
      if (st_here_q[4]) assert (st_rdata[8*byte_q +: 8] == value_past_q[4]);
      if (op_here_q[2]) assert (op_data[bank_q][8*byte_q +: 8] == value_past_q[2]);

      cover (rs_here_q[4] == '1 && st_here_q[3] && op_here_q[2]);
      cover (ld_valid && !ld_ready && wr_valid == '0);
    end
  end
endmodule
