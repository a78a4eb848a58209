// In-order queue of commands: stores beats, assembles the oldest command, watches its waits.
module npu_queue #(
  // Beats of the longest command.
  parameter int unsigned Beats = 4,
  // Beats that are stored beside the assembled command.
  parameter int unsigned Depth = 32
) (
  input  logic                  clk,
  input  logic                  rst,
  input  logic                  push_valid,
  output logic                  push_ready,
  input  logic [63:0]           push_data,
  // Finished commands of the LOAD, EXEC and STORE queue.
  input  logic [2:0][15:0]      finished,
  output logic                  empty,
  output logic                  head_valid,
  output logic [64*Beats-1:0]   head,
  // Per queue: the command still waits for it.
  output logic [2:0]            head_waits,
  input  logic                  pop
);
  localparam int unsigned TransferBeats = npu_pkg::TransferBits / 64;
  localparam int unsigned ExecBeats = npu_pkg::ExecBits / 64;
  localparam int unsigned CountBits = $clog2(Beats + 1);

  logic        beat_valid, beat_ready;
  logic [63:0] beat;

  npu_fifo #(.Width(64), .Depth(Depth)) u_beats (
    .clk, .rst,
    .push_valid, .push_ready, .push_data,
    .pop_valid(beat_valid), .pop_ready(beat_ready), .pop_data(beat),
    .count()
  );

  logic [Beats-1:0][63:0] head_q;
  logic [CountBits-1:0] filled_q, length_q;

  assign head_valid = filled_q != '0 && filled_q == length_q;
  assign beat_ready = !head_valid;
  assign empty      = !beat_valid && filled_q == '0;
  assign head       = head_q;

  always_ff @(posedge clk) begin
    if (rst || pop) begin
      filled_q <= '0;
      length_q <= '0;
    end else if (beat_valid && beat_ready) begin
      filled_q <= filled_q + 1'b1;
      if (filled_q == '0) begin
        length_q <= beat[7:0] == npu_pkg::OpExec ? CountBits'(ExecBeats) : CountBits'(TransferBeats);
      end
    end
  end

  always_ff @(posedge clk) begin
    if (beat_valid && beat_ready) head_q[filled_q] <= beat;
  end

  // The three waits stand at the same place in every command: LOAD, EXEC, STORE.
  for (genvar i = 0; i < 3; i++) begin : g_wait
    logic [15:0] wanted;
    logic signed [15:0] ahead;
    assign wanted = head_q[0][16 + 16*i +: 16];
    assign ahead = signed'(finished[i] - wanted);
    assign head_waits[i] = wanted != '0 && ahead < 0;
  end
endmodule
