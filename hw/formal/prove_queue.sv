// npu_queue: commands come out whole, in order, unchanged, and wait for what they name.
//
// Any one beat may be marked when it is pushed; `ahead` counts the beats before it. What stands at the
// queue's head must hold the marked beat at that place.
module prove_queue #(
  parameter int unsigned Beats = 4,
  parameter int unsigned Depth = 4
) (
  input logic             clk,
  input logic             rst,
  input logic             push_valid,
  input logic [63:0]      push_data,
  input logic [2:0][15:0] finished,
  input logic             pop,
  input logic             mark
);
  localparam int unsigned Bits = $clog2(Depth + Beats) + 1;
  localparam int unsigned PlaceBits = $clog2(Depth);
  localparam int unsigned Transfer = npu_pkg::TransferBits / 64;
  localparam int unsigned Exec = npu_pkg::ExecBits / 64;

  logic                push_ready, empty, head_valid;
  logic [64*Beats-1:0] head;
  logic [2:0]          head_waits;

  npu_queue #(.Beats(Beats), .Depth(Depth)) u_queue (.*);

  logic begun_q = 1'b0;
  // Room that was made in the last cycle does not show yet.
  logic fresh_q;
  logic push;
  assign push = push_valid && push_ready;

  function automatic logic [Bits-1:0] length(input logic [7:0] opcode);
    return Beats >= Exec && opcode == npu_pkg::OpExec ? Bits'(Exec) : Bits'(Transfer);
  endfunction

  // Beats inside; those ahead of the marked one.
  logic [Bits-1:0] level_q, ahead_q;
  logic            marked_q, valid_q, pop_q;
  logic [2:0]      waits_q;
  logic [63:0]     data_q;
  logic [64*Beats-1:0] head_q;
  logic [Bits-1:0] taken;
  assign taken = pop ? length(head[7:0]) : '0;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    fresh_q <= rst || pop;
    valid_q <= head_valid;
    head_q  <= head;
    pop_q   <= pop;
    // The difference counts modulo 2^16.
    for (int i = 0; i < 3; i++)
      waits_q[i] <= head[16+16*i +: 16] != '0
          && 16'(head[16+16*i +: 16] - finished[i] - 16'd1) < 16'h8000;
    level_q <= level_q + Bits'(push) - taken;
    if (marked_q) begin
      ahead_q <= ahead_q - taken;
      if (ahead_q < taken) marked_q <= 1'b0;
    end else if (mark && push) begin
      marked_q <= 1'b1;
      data_q   <= push_data;
      ahead_q  <= level_q - taken;
    end
    if (rst) begin
      valid_q  <= 1'b0;
      level_q  <= '0;
      marked_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (rst);
    if (!head_valid) assume (!pop);
  end

  // Beats of the head that are taken, and with the one behind it; those that are in place: what the induction
  // needs.
  logic [Bits-1:0] filled, ready, placed_q;
  always_ff @(posedge clk) placed_q <= rst || pop ? '0 : filled;
  assign filled = Bits'(u_queue.filled_q);
  assign ready  = filled + Bits'(u_queue.beat_valid_q);

  // The copy ahead of each beat's place holds the marked beat, and goes there next.
  logic [Beats-1:0] copied;
  for (genvar i = 0; i < Beats; i++) begin : gen_copied
    assign copied[i] = u_queue.g_part[i/4].here_q[i%4] && u_queue.g_part[i/4].copy_q == data_q;
  end

  always_comb begin
    if (begun_q) begin
      assert (empty == (level_q == '0));
      assert (push_ready || level_q >= Bits'(Depth - 1) || fresh_q);
      assert (!push_ready || Bits'(u_queue.u_beats.count) < Bits'(Depth));
      // Whole commands only; a command stays until it is taken.
      if (head_valid) assert (level_q >= length(head[7:0]));
      if (valid_q && !pop_q) assert (head_valid && head == head_q);
      if (marked_q) assert (ahead_q < level_q);
      if (marked_q && head_valid && ahead_q < length(head[7:0])) assert (head[64*ahead_q +: 64] == data_q);
      // Waits are those of the cycle before, and of this command.
      assert (head_waits == waits_q);
      if (head_valid) assert (head[63:0] == head_q[63:0]);

      assert (Bits'(u_queue.u_beats.count) == level_q - ready && ready <= level_q);
      if (filled != '0) assert (filled <= length(head[7:0]));
      assert (u_queue.full_q == (filled != '0 && filled == length(head[7:0])));
      assert (head_valid == (u_queue.full_q && placed_q == filled));
      assert (placed_q == filled || placed_q + 1'b1 == filled);
      if (marked_q) begin
        if (ahead_q < placed_q) assert (head[64*ahead_q +: 64] == data_q);
        else if (ahead_q < filled) assert (copied[ahead_q]);
        else if (ahead_q < ready) assert (u_queue.beat_q == data_q);
        else
          assert (u_queue.u_beats.mem[u_queue.u_beats.read_q[PlaceBits-1:0] + PlaceBits'(ahead_q - ready)]
              == data_q);
      end
    end
  end

  // A command that is there shows: its beats move up one a cycle, the first of them a cycle late.
  logic            moving_q, coming_q;
  logic [Bits-1:0] filled_q;
  always_ff @(posedge clk) begin
    moving_q <= !rst && !u_queue.full_q && ready != filled;
    coming_q <= !rst && level_q > ready;
    filled_q <= filled;
  end
  always_comb begin
    if (begun_q && moving_q) assert (filled == filled_q + 1'b1);
    if (begun_q && coming_q) assert (ready != filled);
  end

  always_comb begin
    if (begun_q) begin
      cover (pop && marked_q && ahead_q == Bits'(Transfer - 1) && level_q > Bits'(Transfer));
      cover (head_valid && head_waits == 3'b101);
    end
  end
endmodule
