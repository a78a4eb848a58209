// Model in place of the command decode: any verdict, which the solver chooses for the undriven
// wires.
module npu_cmd_decode (
  input  logic                                           clk_i,
  input  logic                                           rst_ni,
  input  logic                                           valid_i,
  input  npu_pkg::transfer_t                             cmd_i,
  input  logic                                           taken_i,
  input  logic               [                     31:0] region_bytes_i,
  output logic                                           done_o,
  output logic                                           illegal_o,
  output logic                                           outside_o,
  output logic               [                     15:0] span_beats_o,
  output logic                                           contiguous_o,
  output logic               [npu_pkg::BankAddrBits-1:0] plane_address_o,
  output logic               [npu_pkg::BankAddrBits-1:0] ring_o
);
  typedef struct packed {
    logic                             done,          illegal, outside, contiguous;
    logic [15:0]                      span_beats;
    logic [npu_pkg::BankAddrBits-1:0] plane_address, ring;
  } verdict_t;
  verdict_t free, verdict_q;
  always_ff @(posedge clk_i) verdict_q <= free;
  assign done_o = verdict_q.done && valid_i;
  assign illegal_o = verdict_q.illegal;
  assign outside_o = verdict_q.outside;
  assign contiguous_o = verdict_q.contiguous;
  assign span_beats_o = verdict_q.span_beats;
  assign plane_address_o = verdict_q.plane_address;
  assign ring_o = verdict_q.ring;

  logic unused;
  assign unused = |{rst_ni, cmd_i, taken_i, region_bytes_i};
endmodule
