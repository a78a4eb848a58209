// Frame control: start, end, first fault, soft reset, watchdog.
//
// The watchdog counts cycles without progress (a beat, an acknowledgement, a multiplication, a
// finished command) and raises a fault at `watchdog_i` cycles, or never if that is 0.
//
// A soft reset waits until the bus is idle, however long that takes: AXI cannot cancel bursts in
// flight, and their responses must not be taken for those of another frame. Only software that has
// reset the memory as well may discard them (`forget_i`).
module npu_control (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic        reset_i,
  // With `reset_i`: bursts in flight are discarded.
  input  logic        forget_i,
  input  logic [31:0] watchdog_i,
  // The frame has reached its end; no burst is in flight.
  input  logic        finish_i,
  input  logic        bus_idle_i,
  // Something moved in this cycle.
  input  logic        progress_i,
  // Faults and the information that belongs to them.
  input  logic        read_error_i,
  input  logic        read_error_command_i,
  input  logic [31:0] read_error_address_i,
  input  logic        write_error_i,
  input  logic [31:0] write_error_address_i,
  input  logic        load_illegal_i,
  input  logic        load_outside_i,
  input  logic [15:0] load_index_i,
  input  logic        store_illegal_i,
  input  logic        store_outside_i,
  input  logic [15:0] store_index_i,
  input  logic        exec_illegal_i,
  input  logic [15:0] exec_index_i,
  input  logic        stream_illegal_i,
  input  logic [26:0] stream_unit_i,
  input  logic [15:0] exec_finished_i,
  // State.
  output logic        frame_start_o,
  output logic        running_o,
  output logic        done_o,
  output logic        fault_o,
  output logic        resetting_o,
  output logic [ 3:0] fault_code_o,
  output logic [31:0] fault_info_o,
  output logic        raise_done_o,
  output logic        raise_fault_o,
  // No further burst is issued.
  output logic        stop_o,
  // Everything but the registers is reset.
  output logic        clear_o
);
  typedef enum logic [2:0] {
    Idle,
    Running,
    Done,
    Faulted,
    Draining,
    Clearing
  } state_e;
  state_e state_q, state;

  logic [31:0] quiet_cycles_q;

  logic expired;
  assign expired = watchdog_i != '0 && quiet_cycles_q >= watchdog_i;

  logic raised;
  logic [3:0] code;
  logic [31:0] info;
  always_comb begin
    raised = 1'b1;
    code = npu_pkg::FaultNone;
    info = '0;
    if (read_error_i) begin
      code = read_error_command_i ? npu_pkg::FaultCommandRead : npu_pkg::FaultBusRead;
      info = read_error_address_i;
    end else if (write_error_i) begin
      code = npu_pkg::FaultBusWrite;
      info = write_error_address_i;
    end else if (load_illegal_i || load_outside_i) begin
      code = load_illegal_i ? npu_pkg::FaultIllegalCommand : npu_pkg::FaultOutOfRegion;
      info = 32'(load_index_i);
    end else if (store_illegal_i || store_outside_i) begin
      code = store_illegal_i ? npu_pkg::FaultIllegalCommand : npu_pkg::FaultOutOfRegion;
      info = 32'(store_index_i);
    end else if (exec_illegal_i) begin
      code = npu_pkg::FaultIllegalCommand;
      info = 32'(exec_index_i);
    end else if (stream_illegal_i) begin
      code = npu_pkg::FaultIllegalCommand;
      info = {5'b10000, stream_unit_i};
    end else if (expired) begin
      code = npu_pkg::FaultWatchdog;
      info = 32'(exec_finished_i);
    end else begin
      raised = 1'b0;
    end
  end

  assign frame_start_o = start_i && (state_q == Idle || state_q == Done);
  assign running_o = state_q == Running;
  assign done_o = state_q == Done;
  assign fault_o = state_q == Faulted;
  assign resetting_o = state_q == Draining || state_q == Clearing;
  assign clear_o = state_q == Clearing;
  assign raise_fault_o = running_o && raised;
  assign raise_done_o = running_o && !raised && finish_i;

  always_comb begin
    state = state_q;
    unique case (state_q)
      Idle, Done: if (frame_start_o) state = Running;
      Running:
      if (raised) state = Faulted;
      else if (finish_i) state = Done;
      Faulted: ;
      Draining: if (bus_idle_i) state = Clearing;
      Clearing: state = Idle;
      default: state = Idle;  // not covered: no state has these codes
    endcase
    if (reset_i && forget_i) state = Clearing;
    else if (reset_i && !resetting_o) state = Draining;
    if (!rst_ni) state = Idle;
  end

  always_ff @(posedge clk_i) begin
    state_q <= state;
    // Registered because of its fan-out.
    stop_o <= state == Faulted || state == Draining || state == Clearing;
    if (!rst_ni || clear_o) begin
      fault_code_o <= npu_pkg::FaultNone;
      fault_info_o <= '0;
    end else if (raise_fault_o) begin
      fault_code_o <= code;
      fault_info_o <= info;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!running_o || progress_i) quiet_cycles_q <= '0;
    else if (!expired) quiet_cycles_q <= quiet_cycles_q + 1'b1;
  end
endmodule
