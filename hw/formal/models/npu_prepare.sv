// In place of the check: any verdict, which the solver picks for the wires that nothing drives.
module npu_prepare (
  input  logic                   clk,
  input  logic                   rst,
  input  logic                   valid,
  input  npu_pkg::transfer_t     cmd,
  input  logic                   taken,
  input  logic [31:0]            region_bytes,
  output logic                   done,
  output logic                   illegal,
  output logic                   outside,
  output logic [15:0]            span_beats,
  output logic                   contiguous,
  output logic [npu_pkg::BankAddrBits-1:0] plane_address,
  output logic [npu_pkg::BankAddrBits-1:0] ring
);
  typedef struct packed {
    logic done, illegal, outside, contiguous;
    logic [15:0] span_beats;
    logic [npu_pkg::BankAddrBits-1:0] plane_address, ring;
  } verdict_t;
  verdict_t free, verdict_q;
  always_ff @(posedge clk) verdict_q <= free;
  assign done          = verdict_q.done && valid;
  assign illegal       = verdict_q.illegal;
  assign outside       = verdict_q.outside;
  assign contiguous    = verdict_q.contiguous;
  assign span_beats    = verdict_q.span_beats;
  assign plane_address = verdict_q.plane_address;
  assign ring          = verdict_q.ring;

  logic unused;
  assign unused = |{rst, cmd, taken, region_bytes};
endmodule
