// The frame's state: start, end, first fault, soft reset, watchdog.
//
// A soft reset waits until the bus is idle, however long that takes: bursts that are under way cannot be
// called back, and their answers must not meet another frame. Only software that has reset the memory as well
// may forget them.
module npu_control (
  input  logic        clk,
  input  logic        rst,
  input  logic        start,
  input  logic        reset,
  // With `reset`: what is under way on the bus is forgotten.
  input  logic        forget,
  input  logic [31:0] watchdog,
  // The frame has reached its end; nothing is under way on the bus.
  input  logic        finish,
  input  logic        bus_idle,
  // Something moved.
  input  logic        progress,
  // Faults and what they tell.
  input  logic        read_error,
  input  logic        read_error_command,
  input  logic [31:0] read_error_address,
  input  logic        write_error,
  input  logic [31:0] write_error_address,
  input  logic        load_illegal,
  input  logic        load_outside,
  input  logic [15:0] load_index,
  input  logic        store_illegal,
  input  logic        store_outside,
  input  logic [15:0] store_index,
  input  logic        exec_illegal,
  input  logic [15:0] exec_index,
  input  logic        stream_illegal,
  input  logic [26:0] stream_unit,
  input  logic [15:0] exec_finished,
  // State.
  output logic        frame_start,
  output logic        running,
  output logic        done,
  output logic        fault,
  output logic        resetting,
  output logic [3:0]  fault_code,
  output logic [31:0] fault_info,
  output logic        raise_done,
  output logic        raise_fault,
  // Nothing more is issued on the bus.
  output logic        stop,
  // Everything but the registers forgets its state.
  output logic        clear
);
  typedef enum logic [2:0] {Idle, Running, Done, Faulted, Draining, Clearing} state_e;
  state_e state_q, state;

  logic [31:0] still_q;

  logic starved;
  assign starved = watchdog != '0 && still_q >= watchdog;

  logic        raised;
  logic [3:0]  code;
  logic [31:0] info;
  always_comb begin
    raised = 1'b1;
    code   = npu_pkg::FaultNone;
    info   = '0;
    if (read_error) begin
      code = read_error_command ? npu_pkg::FaultCommandRead : npu_pkg::FaultBusRead;
      info = read_error_address;
    end else if (write_error) begin
      code = npu_pkg::FaultBusWrite;
      info = write_error_address;
    end else if (load_illegal || load_outside) begin
      code = load_illegal ? npu_pkg::FaultIllegalCommand : npu_pkg::FaultOutOfRegion;
      info = 32'(load_index);
    end else if (store_illegal || store_outside) begin
      code = store_illegal ? npu_pkg::FaultIllegalCommand : npu_pkg::FaultOutOfRegion;
      info = 32'(store_index);
    end else if (exec_illegal) begin
      code = npu_pkg::FaultIllegalCommand;
      info = 32'(exec_index);
    end else if (stream_illegal) begin
      code = npu_pkg::FaultIllegalCommand;
      info = {5'b10000, stream_unit};
    end else if (starved) begin
      code = npu_pkg::FaultWatchdog;
      info = 32'(exec_finished);
    end else begin
      raised = 1'b0;
    end
  end

  assign frame_start = start && (state_q == Idle || state_q == Done);
  assign running     = state_q == Running;
  assign done        = state_q == Done;
  assign fault       = state_q == Faulted;
  assign resetting   = state_q == Draining || state_q == Clearing;
  assign clear       = state_q == Clearing;
  assign raise_fault = running && raised;
  assign raise_done  = running && !raised && finish;

  always_comb begin
    state = state_q;
    unique case (state_q)
      Idle, Done: if (frame_start) state = Running;
      Running: if (raised) state = Faulted;
        else if (finish) state = Done;
      Faulted: ;
      Draining: if (bus_idle) state = Clearing;
      Clearing: state = Idle;
      default: state = Idle;  // not covered: no state has these codes
    endcase
    if (reset && forget) state = Clearing;
    else if (reset && !resetting) state = Draining;
    if (rst) state = Idle;
  end

  always_ff @(posedge clk) begin
    state_q <= state;
    // A register, since it goes everywhere.
    stop    <= state == Faulted || state == Draining || state == Clearing;
    if (rst || clear) begin
      fault_code <= npu_pkg::FaultNone;
      fault_info <= '0;
    end else if (raise_fault) begin
      fault_code <= code;
      fault_info <= info;
    end
  end

  always_ff @(posedge clk) begin
    if (!running || progress) still_q <= '0;
    else if (!starved) still_q <= still_q + 1'b1;
  end
endmodule
