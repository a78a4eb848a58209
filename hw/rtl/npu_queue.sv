// In-order command queue: stores beats, assembles the oldest command, and compares its waits with
// the finished commands (the result is one cycle late).
//
// Units: beats of 8 bytes. Beats pass two registers between the memory and the command.
//    head_waits_o[i] = wanted[i] != 0 and (finished_i[i] − wanted[i]) mod 2^16 is negative
module npu_queue #(
  // Beats of the longest command.
  parameter int unsigned Beats = 4,
  // Beats that are stored in addition to the assembled command.
  parameter int unsigned Depth = 32
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      push_valid_i,
  output logic                      push_ready_o,
  input  logic [        63:0]       push_data_i,
  // Number of finished commands of the LOAD, EXEC and STORE queue.
  input  logic [         2:0][15:0] finished_i,
  output logic                      empty_o,
  output logic                      head_valid_o,
  output logic [64*Beats-1:0]       head_o,
  // The command still waits for this queue.
  output logic [         2:0]       head_waits_o,
  input  logic                      pop_i
);
  localparam int unsigned TransferBeats = npu_pkg::TransferBits / 64;
  localparam int unsigned ExecBeats = npu_pkg::ExecBits / 64;
  localparam int unsigned CountBits = $clog2(Beats + 1);

  logic stored_valid, shift, beat_valid_q, beat_ready;
  logic [63:0] stored_beat, beat_q;
  logic [$clog2(Depth):0] stored;

  npu_fifo #(
    .Width(64),
    .Depth(Depth)
  ) u_beats (
    .clk_i,
    .rst_ni,
    .push_valid_i(push_valid_i && push_ready_o),
    .push_ready_o(),
    .push_data_i,
    .pop_valid_o (stored_valid),
    .pop_ready_i (shift),
    .pop_data_o  (stored_beat),
    .count_o     (stored)
  );
  // Block RAM has a slow clock-to-out, so its output is registered; a beat also has a large
  // fan-out.
  assign shift = !beat_valid_q || beat_ready;
  always_ff @(posedge clk_i) begin
    if (shift) begin
      beat_valid_q <= stored_valid;
      beat_q <= stored_beat;
    end
    if (!rst_ni) beat_valid_q <= 1'b0;
  end
  // push_ready_o is registered; one entry is reserved for the beat in flight.
  always_ff @(posedge clk_i) push_ready_o <= rst_ni && stored < ($clog2(Depth) + 1)'(Depth - 1);

  // Beats of the oldest command that have been taken; whether all have been; whether all are in
  // place.
  logic [Beats-1:0][63:0] head_q;
  logic [CountBits-1:0] filled_q;
  logic full_q, head_valid_q, long;

  // The first beat is in place long before the last but one is taken.
  assign long = Beats >= ExecBeats && head_q[0][7:0] == npu_pkg::OpExec;
  assign head_valid_o = head_valid_q;
  assign beat_ready = !full_q;
  assign empty_o = !stored_valid && !beat_valid_q && filled_q == '0;
  assign head_o = head_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || pop_i) begin
      filled_q <= '0;
      full_q <= 1'b0;
      head_valid_q <= 1'b0;
    end else begin
      head_valid_q <= full_q;
      if (beat_valid_q && beat_ready) begin
        filled_q <= filled_q + 1'b1;
        full_q <= filled_q == (long ? CountBits'(ExecBeats - 1) : CountBits'(TransferBeats - 1));
      end
    end
  end

  // Every four beats of the command have their own copy of the beat; a beat's register is rewritten
  // until its beat arrives.
  for (genvar g = 0; g < Beats / 4; g++) begin : gen_part
    logic [3:0] here, here_q;
    logic [63:0] copy_q;
    for (genvar i = 0; i < 4; i++) begin : gen_beat
      assign here[i] = beat_ready && filled_q == CountBits'(4 * g + i);
      always_ff @(posedge clk_i) if (here_q[i]) head_q[4*g+i] <= copy_q;
    end
    npu_replica #(
      .Width(4 + 64)
    ) u_copy (
      .clk_i,
      .d_i({here, beat_q}),
      .q_o({here_q, copy_q})
    );
  end

  // All commands have their three waits in the same place: LOAD, EXEC, STORE.
  for (genvar i = 0; i < 3; i++) begin : gen_wait
    logic [15:0] wanted;
    logic signed [15:0] ahead;
    assign wanted = head_q[0][16+16*i+:16];
    assign ahead = signed'(finished_i[i] - wanted);
    always_ff @(posedge clk_i) head_waits_o[i] <= wanted != '0 && ahead < 0;
  end
endmodule
