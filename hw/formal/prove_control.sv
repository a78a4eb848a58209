// npu_control: the frame's states, first fault, soft reset, and that the watchdog fires.
module prove_control (
  input logic        clk,
  input logic        rst,
  input logic        start,
  input logic        reset,
  input logic        forget,
  input logic [31:0] watchdog,
  input logic        finish,
  input logic        bus_idle,
  input logic        progress,
  input logic        read_error,
  input logic        read_error_command,
  input logic [31:0] read_error_address,
  input logic        write_error,
  input logic [31:0] write_error_address,
  input logic        load_illegal,
  input logic        load_outside,
  input logic [15:0] load_index,
  input logic        store_illegal,
  input logic        store_outside,
  input logic [15:0] store_index,
  input logic        exec_illegal,
  input logic [15:0] exec_index,
  input logic        stream_illegal,
  input logic [26:0] stream_unit,
  input logic [15:0] exec_finished
);
  logic        frame_start, running, done, fault, resetting, raise_done, raise_fault, stop, clear;
  logic [3:0]  fault_code;
  logic [31:0] fault_info;

  npu_control u_control (.*);

  logic begun_q = 1'b0;
  logic reported;
  assign reported = read_error || write_error || load_illegal || load_outside || store_illegal || store_outside
      || exec_illegal || stream_illegal;

  // The last cycle; cycles without progress.
  logic        rst_q, running_q, done_q, fault_q, clear_q, reset_q, forget_q, reported_q, finish_q, start_q;
  logic        idle_q, stop_q, resetting_q;
  logic        raise_q, raise_done_q;
  logic [3:0]  code_q;
  logic [31:0] info_q, watchdog_q, quiet_q, quiet_before_q;

  always_ff @(posedge clk) begin
    begun_q      <= 1'b1;
    rst_q        <= rst;
    running_q    <= running;
    done_q       <= done;
    fault_q      <= fault;
    clear_q      <= clear;
    reset_q      <= reset;
    forget_q     <= reset && forget;
    resetting_q  <= resetting;
    start_q      <= start;
    stop_q       <= stop;
    idle_q       <= bus_idle;
    reported_q   <= reported;
    finish_q     <= finish;
    raise_q      <= raise_fault;
    raise_done_q <= raise_done;
    code_q       <= fault_code;
    info_q       <= fault_info;
    watchdog_q   <= watchdog;
    quiet_before_q <= quiet_q;
    quiet_q      <= running && !progress ? quiet_q + 1'b1 : '0;
    if (rst) quiet_q <= '0;
  end

  always_comb begin
    if (!begun_q) assume (rst);
    // Software sets the watchdog before the frame.
    if (begun_q && running) assume (watchdog == watchdog_q);

    if (begun_q) begin
      // One state at a time; the bus stands still exactly after a fault and during a reset.
      assert ($countones({running, done, fault, resetting}) <= 1);
      assert (stop == (fault || resetting) && (!clear || resetting));
      assert (frame_start == (start && !running && !fault && !resetting));
      assert (raise_fault == (running && (reported || (watchdog != '0 && quiet_q >= watchdog))));
      assert (raise_done == (running && finish && !raise_fault));
      // A frame runs no longer than the watchdog allows without progress; it fires no earlier.
      if (running && watchdog != '0) assert (quiet_q <= watchdog);
      if (running) assert (u_control.still_q == quiet_q || (watchdog != '0 && quiet_q > watchdog));
    end
    if (begun_q && !rst_q) begin
      if (running_q && !reset_q) begin
        if (raise_q) assert (fault);
        else if (finish_q) assert (done);
        else assert (running);
        if (fault && fault_code == npu_pkg::FaultWatchdog)
          assert (!reported_q && watchdog_q != '0 && quiet_before_q >= watchdog_q);
      end
      // The first fault stays, with what it tells, until software resets.
      if (fault && fault_q) assert (fault_code == code_q && fault_info == info_q);
      if (fault_q && !reset_q) assert (fault);
      if (done_q && !reset_q && !start_q) assert (done);
      if (fault) assert (fault_code != npu_pkg::FaultNone && fault_code <= npu_pkg::FaultWatchdog);
      if (!fault && !resetting) assert (fault_code == npu_pkg::FaultNone);
      // Reset from every state. The core is cleared as soon as the bus is idle with nothing issued any more,
      // no earlier unless it is to be forgotten, and then the reset is over.
      if (reset_q) assert (resetting || clear_q);
      if (clear) assert (forget_q || (resetting_q && !clear_q && stop_q && idle_q));
      if (forget_q || (resetting_q && !clear_q && idle_q)) assert (clear);
      if (resetting_q && !clear_q) assert (resetting);
      if (clear_q && !forget_q) assert (!resetting && !running && !done && !fault);
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (fault && fault_code == npu_pkg::FaultWatchdog && quiet_before_q == 32'd3);
      cover (clear && !idle_q && forget_q);
      cover (clear && !forget_q && resetting_q);
      cover (done && frame_start);
    end
  end
endmodule
