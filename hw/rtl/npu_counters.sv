// What a frame costs, in the order of the counter registers; a cycle after it happens.
module npu_counters (
  input  logic              clk,
  input  logic              rst,
  input  logic              frame_start,
  input  logic              running,
  input  logic              mac,
  // Weight vectors skipped in this cycle.
  input  logic [10:0]       skipped,
  input  logic              stall_load,
  input  logic              stall_store,
  input  logic              stall_drain,
  input  logic              stall_residual,
  input  logic              stall_command,
  // Beats of 8 bytes.
  input  logic              beat_read,
  input  logic              beat_written,
  // Commands that finish: LOAD, EXEC, STORE.
  input  logic [2:0]        finished,
  output logic [12:0][31:0] counters
);
  logic clear_q, running_q;
  logic [12:0][10:0] step;
  always_ff @(posedge clk) begin
    clear_q   <= rst || frame_start;
    running_q <= running;
    step[0]  <= 11'd1;
    step[1]  <= 11'(mac);
    step[2]  <= skipped;
    step[3]  <= 11'(stall_load);
    step[4]  <= 11'(stall_store);
    step[5]  <= 11'(stall_drain);
    step[6]  <= 11'(stall_residual);
    step[7]  <= 11'(stall_command);
    step[8]  <= beat_read ? 11'd8 : 11'd0;
    step[9]  <= beat_written ? 11'd8 : 11'd0;
    step[10] <= 11'(finished[0]);
    step[11] <= 11'(finished[1]);
    step[12] <= 11'(finished[2]);
  end

  for (genvar i = 0; i < 13; i++) begin : g_counter
    always_ff @(posedge clk) begin
      if (clear_q) counters[i] <= '0;
      else if (running_q) counters[i] <= counters[i] + 32'(step[i]);
    end
  end
endmodule
