// Performance counters of a frame, in the order of the counter registers.
//
// Units: cycles for the first eight (skipped: weight vectors), bytes for the two bus counters,
// commands for the last three. Events are counted one cycle after they happen.
module npu_counters (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              frame_start_i,
  input  logic              running_i,
  input  logic              mac_i,
  // Weight vectors that were skipped in this cycle.
  input  logic [10:0]       skipped_i,
  input  logic              stall_load_i,
  input  logic              stall_store_i,
  input  logic              stall_drain_i,
  input  logic              stall_residual_i,
  input  logic              stall_command_i,
  // 8-byte beats.
  input  logic              beat_read_i,
  input  logic              beat_written_i,
  // Commands that finish in this cycle: LOAD, EXEC, STORE.
  input  logic [ 2:0]       finished_i,
  output logic [12:0][31:0] counters_o
);
  logic clear_q, running_q;
  logic [12:0][10:0] step;
  always_ff @(posedge clk_i) begin
    clear_q <= !rst_ni || frame_start_i;
    running_q <= running_i;
    step[0] <= 11'd1;
    step[1] <= 11'(mac_i);
    step[2] <= skipped_i;
    step[3] <= 11'(stall_load_i);
    step[4] <= 11'(stall_store_i);
    step[5] <= 11'(stall_drain_i);
    step[6] <= 11'(stall_residual_i);
    step[7] <= 11'(stall_command_i);
    step[8] <= beat_read_i ? 11'd8 : 11'd0;
    step[9] <= beat_written_i ? 11'd8 : 11'd0;
    step[10] <= 11'(finished_i[0]);
    step[11] <= 11'(finished_i[1]);
    step[12] <= 11'(finished_i[2]);
  end

  for (genvar i = 0; i < 13; i++) begin : gen_counter
    always_ff @(posedge clk_i) begin
      if (clear_q) counters_o[i] <= '0;
      else if (running_q) counters_o[i] <= counters_o[i] + 32'(step[i]);
    end
  end
endmodule
