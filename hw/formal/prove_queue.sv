// npu_queue: commands come out whole, in order, unchanged, and wait for the queues that they name.
//
// Any one beat may be marked when it is pushed; `ahead` counts the beats before it. The command at
// the head of the queue must hold the marked beat at that position.
module prove_queue #(
  parameter int unsigned Beats = 4,
  parameter int unsigned Depth = 4
) (
  input logic              clk_i,
  input logic              rst_ni,
  input logic              push_valid_i,
  input logic [63:0]       push_data_i,
  input logic [ 2:0][15:0] finished_i,
  input logic              pop_i,
  input logic              mark_i
);
  localparam int unsigned Bits = $clog2(Depth + Beats) + 1;
  localparam int unsigned PlaceBits = $clog2(Depth);
  localparam int unsigned Transfer = npu_pkg::TransferBits / 64;
  localparam int unsigned Exec = npu_pkg::ExecBits / 64;

  logic push_ready, empty, head_valid;
  logic [64*Beats-1:0] head;
  logic [2:0] head_waits;

  npu_queue #(
    .Beats(Beats),
    .Depth(Depth)
  ) u_queue (
    .clk_i,
    .rst_ni,
    .push_valid_i,
    .push_ready_o(push_ready),
    .push_data_i,
    .finished_i,
    .empty_o     (empty),
    .head_valid_o(head_valid),
    .head_o      (head),
    .head_waits_o(head_waits),
    .pop_i
  );

  logic begun_q = 1'b0;
  // Room that was made in the previous cycle is not visible yet.
  logic fresh_q;
  logic push;
  assign push = push_valid_i && push_ready;

  function automatic logic [Bits-1:0] length(input logic [7:0] opcode);
    return Beats >= Exec && opcode == npu_pkg::OpExec ? Bits'(Exec) : Bits'(Transfer);
  endfunction

  // Beats inside; beats ahead of the marked one.
  logic [Bits-1:0] level_q, ahead_q;
  logic marked_q, valid_q, pop_q;
  logic [2:0] waits_q;
  logic [63:0] data_q;
  logic [64*Beats-1:0] head_q;
  logic [Bits-1:0] taken;
  assign taken = pop_i ? length(head[7:0]) : '0;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    fresh_q <= !rst_ni || pop_i;
    valid_q <= head_valid;
    head_q <= head;
    pop_q <= pop_i;
    // The difference is taken modulo 2^16.
    for (int i = 0; i < 3; i++)
    waits_q[i] <= head[16+16*i+:16] != '0 &&
        16'(head[16+16*i+:16] - finished_i[i] - 16'd1) < 16'h8000;
    level_q <= level_q + Bits'(push) - taken;
    if (marked_q) begin
      ahead_q <= ahead_q - taken;
      if (ahead_q < taken) marked_q <= 1'b0;
    end else if (mark_i && push) begin
      marked_q <= 1'b1;
      data_q <= push_data_i;
      ahead_q <= level_q - taken;
    end
    if (!rst_ni) begin
      valid_q <= 1'b0;
      level_q <= '0;
      marked_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (!head_valid) assume (!pop_i);
  end

  // Beats of the head that are taken; the same with the one behind it; those that are in place: for
  // the induction.
  logic [Bits-1:0] filled, ready, placed_q;
  always_ff @(posedge clk_i) placed_q <= !rst_ni || pop_i ? '0 : filled;
  assign filled = Bits'(u_queue.filled_q);
  assign ready = filled + Bits'(u_queue.beat_valid_q);

  // The copy ahead of each beat's register holds the marked beat and is written next.
  logic [Beats-1:0] copied;
  for (genvar i = 0; i < Beats; i++) begin : gen_copied
    assign copied[i] = u_queue.gen_part[i/4].here_q[i%4] && u_queue.gen_part[i/4].copy_q == data_q;
  end

  always_comb begin
    if (begun_q) begin
      assert (empty == (level_q == '0));
      assert (push_ready || level_q >= Bits'(Depth - 1) || fresh_q);
      assert (!push_ready || Bits'(u_queue.u_beats.count_o) < Bits'(Depth));
      // Only whole commands are shown; a command stays until it is popped.
      if (head_valid) assert (level_q >= length(head[7:0]));
      if (valid_q && !pop_q) assert (head_valid && head == head_q);
      if (marked_q) assert (ahead_q < level_q);
      if (marked_q && head_valid && ahead_q < length(head[7:0]))
        assert (head[64*ahead_q+:64] == data_q);
      // The waits are those of the previous cycle, and of this command.
      assert (head_waits == waits_q);
      if (head_valid) assert (head[63:0] == head_q[63:0]);

      assert (Bits'(u_queue.u_beats.count_o) == level_q - ready && ready <= level_q);
      if (filled != '0) assert (filled <= length(head[7:0]));
      assert (u_queue.full_q == (filled != '0 && filled == length(head[7:0])));
      assert (head_valid == (u_queue.full_q && placed_q == filled));
      assert (placed_q == filled || placed_q + 1'b1 == filled);
      if (marked_q) begin
        if (ahead_q < placed_q)
          assert (head[64*ahead_q+:64] == data_q);
          else if (ahead_q < filled)
            assert (copied[ahead_q]);
            else if (ahead_q < ready)
              assert (u_queue.beat_q == data_q);
              else
                assert (u_queue.u_beats.mem[
                        u_queue.u_beats.read_q[PlaceBits-1:0]+PlaceBits'(ahead_q-ready)] == data_q);
      end
    end
  end

  // A command becomes visible: its beats advance one per cycle, the first of them one cycle late.
  logic moving_q, coming_q;
  logic [Bits-1:0] filled_q;
  always_ff @(posedge clk_i) begin
    moving_q <= rst_ni && !u_queue.full_q && ready != filled;
    coming_q <= rst_ni && level_q > ready;
    filled_q <= filled;
  end
  always_comb begin
    if (begun_q && moving_q) assert (filled == filled_q + 1'b1);
    if (begun_q && coming_q) assert (ready != filled);
  end

  always_comb begin
    if (begun_q) begin
      cover (pop_i && marked_q && ahead_q == Bits'(Transfer - 1) && level_q > Bits'(Transfer));
      cover (head_valid && head_waits == 3'b101);
    end
  end
endmodule
