/// Holds the guest's vCPUs while a data path is drained or rebuilt; the machine implements it.
#pragma once

namespace viaduct::datapath {

class VcpuGate {
public:
    virtual ~VcpuGate() = default;
    /// When it returns no vCPU runs guest code, until as many resume() as pause() were called.
    /// Never called from a vCPU thread.
    virtual void pause() = 0;
    virtual void resume() = 0;
};

/// The vCPUs stand still while this lives.
class VcpusPaused {
public:
    explicit VcpusPaused(VcpuGate& gate) : gate_(gate) { gate_.pause(); }
    VcpusPaused(const VcpusPaused&) = delete;
    VcpusPaused& operator=(const VcpusPaused&) = delete;
    ~VcpusPaused() { gate_.resume(); }

private:
    VcpuGate& gate_;
};

}  // namespace viaduct::datapath
