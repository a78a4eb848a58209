// In-order queue of commands: stores beats, assembles the oldest command, watches its waits (which
// show a cycle late). Beats pass two registers on their way from the memory into the command.
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

  logic        stored_valid, shift, beat_valid_q, beat_ready;
  logic [63:0] stored_beat, beat_q;
  logic [$clog2(Depth):0] stored;

  npu_fifo #(.Width(64), .Depth(Depth)) u_beats (
    .clk, .rst,
    .push_valid(push_valid && push_ready), .push_ready(), .push_data,
    .pop_valid(stored_valid), .pop_ready(shift), .pop_data(stored_beat),
    .count(stored)
  );
  // One beat stands in a register: block RAM is late, and a beat goes to many places.
  assign shift = !beat_valid_q || beat_ready;
  always_ff @(posedge clk) begin
    if (shift) begin
      beat_valid_q <= stored_valid;
      beat_q       <= stored_beat;
    end
    if (rst) beat_valid_q <= 1'b0;
  end
  // Told a cycle late: the last but one place is kept for a beat that comes in between.
  always_ff @(posedge clk) push_ready <= !rst && stored < ($clog2(Depth) + 1)'(Depth - 1);

  // Beats of the oldest command that are taken, and whether these are all; then they are all in place.
  logic [Beats-1:0][63:0] head_q;
  logic [CountBits-1:0] filled_q;
  logic full_q, head_valid_q, long;

  // The first beat is there long before the last but one.
  assign long       = Beats >= ExecBeats && head_q[0][7:0] == npu_pkg::OpExec;
  assign head_valid = head_valid_q;
  assign beat_ready = !full_q;
  assign empty      = !stored_valid && !beat_valid_q && filled_q == '0;
  assign head       = head_q;

  always_ff @(posedge clk) begin
    if (rst || pop) begin
      filled_q     <= '0;
      full_q       <= 1'b0;
      head_valid_q <= 1'b0;
    end else begin
      head_valid_q <= full_q;
      if (beat_valid_q && beat_ready) begin
        filled_q <= filled_q + 1'b1;
        full_q   <= filled_q == (long ? CountBits'(ExecBeats - 1) : CountBits'(TransferBeats - 1));
      end
    end
  end

  // Every four beats of the command have a copy of the beat; its place is written over and over until it comes.
  for (genvar g = 0; g < Beats / 4; g++) begin : g_part
    logic [3:0] here, here_q;
    logic [63:0] copy_q;
    for (genvar i = 0; i < 4; i++) begin : g_beat
      assign here[i] = beat_ready && filled_q == CountBits'(4*g + i);
      always_ff @(posedge clk) if (here_q[i]) head_q[4*g + i] <= copy_q;
    end
    npu_replica #(.Width(4 + 64)) u_copy (.clk, .in({here, beat_q}), .out({here_q, copy_q}));
  end

  // The three waits stand at the same place in every command: LOAD, EXEC, STORE.
  for (genvar i = 0; i < 3; i++) begin : g_wait
    logic [15:0] wanted;
    logic signed [15:0] ahead;
    assign wanted = head_q[0][16 + 16*i +: 16];
    assign ahead = signed'(finished[i] - wanted);
    always_ff @(posedge clk) head_waits[i] <= wanted != '0 && ahead < 0;
  end
endmodule
