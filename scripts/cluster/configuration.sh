# shellcheck shell=bash
# The cluster's configuration files.

cgroup_lines() {
  # Named, so that nothing looks for it. Without cgroups in use it is never loaded.
  local plugin=cgroup/v1
  if [[ $TASK$PROCTRACK == *cgroup* ]]; then
    if [ ! -d /sys/fs/cgroup/memory ]; then plugin=cgroup/v2; fi
    printf '%s\n' ConstrainRAMSpace=yes ConstrainSwapSpace=yes IgnoreSystemd=yes
  fi
  echo "CgroupPlugin=$plugin"
}

# What a task prolog prints becomes the environment of the job's script, before its shell reads any login file.
job_home_lines() {
  [ -n "$JOB_HOME" ] || return 0
  mkdir -p "$JOB_HOME"
  printf '#!/bin/sh\necho export HOME=%s\n' "$JOB_HOME" >"$DIR/etc/task-prolog"
  chmod 755 "$DIR/etc/task-prolog"
  echo "TaskProlog=$DIR/etc/task-prolog"
}

write_configuration() {
  local gpu gres='' types='' gpu_devices='' gpu_partition='' nodes=node1 ports=$((PORT + 2))
  if [ "$NODES" -gt 1 ]; then
    nodes="node[1-$NODES]"
    ports="[$((PORT + 2))-$((PORT + 1 + NODES))]"
  fi
  if [ "$GPUS" -gt 0 ]; then
    # Slurm sets CUDA_VISIBLE_DEVICES only for character devices; a link to /dev/null is one and needs no rights.
    for gpu in $(seq 0 $((GPUS - 1))); do ln -sfn /dev/null "$DIR/dev/nvidia$gpu"; done
    gpu_devices="Name=gpu${GPUTYPE:+ Type=$GPUTYPE} File=$DIR/dev/nvidia$([ "$GPUS" = 1 ] && echo 0 || echo "[0-$((GPUS - 1))]")"
    types='GresTypes=gpu'
    gres="Gres=gpu:${GPUTYPE:+$GPUTYPE:}$GPUS"
    gpu_partition='PartitionName=gpu Nodes=ALL MaxTime=1-0 DefaultTime=10 PriorityTier=10'
  fi
  printf 'AutoDetect=off\n%s\n' "$gpu_devices" >"$DIR/etc/gres.conf"
  cgroup_lines >"$DIR/etc/cgroup.conf"
  cat >"$CONF" <<CONFIGURATION
ClusterName=dev
SlurmctldHost=$NODE_HOST($ADDRESS)
SlurmctldPort=$PORT
SlurmUser=$ME
SlurmdUser=$ME
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.sock
CredType=cred/munge
$LISTEN
StateSaveLocation=$DIR/state
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdSpoolDir=$DIR/spool/%n
SlurmdPidFile=$DIR/run/slurmd.%n.pid
SlurmdLogFile=$DIR/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
# No rights are needed, and no mail is sent.
ProctrackType=$PROCTRACK
TaskPlugin=$TASK
MpiDefault=none
MailProg=/bin/true
# Nodes are believed to be what the last lines say, more CPUs than the machine has included.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$((MEM / CPUS))
$types
# Jobs start as soon as they can, and a node that comes back is used again.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5,bf_interval=5
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MinJobAge=$MINJOBAGE
KillWait=$KILLWAIT
MessageTimeout=$MESSAGETIMEOUT
TCPTimeout=2
SlurmctldTimeout=30
SlurmdTimeout=10
$(accounting_lines)
$(rest_lines)
$(job_home_lines)
$([ -z "$EXTRA_CONF" ] || cat "$EXTRA_CONF")
NodeName=$nodes NodeAddr=$ADDRESS Port=$ports CPUs=$CPUS Sockets=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEM $gres State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 DefaultTime=10 PriorityTier=10
$gpu_partition
PartitionName=short Nodes=ALL MaxTime=1 DefaultTime=1 PriorityTier=10
PartitionName=low Nodes=ALL MaxTime=1-0 DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=lowc Nodes=ALL MaxTime=1-0 DefaultTime=10 PriorityTier=1 PreemptMode=CANCEL GraceTime=0
PartitionName=high Nodes=ALL MaxTime=1-0 DefaultTime=10 PriorityTier=100 PreemptMode=OFF
CONFIGURATION
  cat >"$DIR/env.sh" <<ENVIRONMENT
# Source this: Slurm's commands then talk to the cluster in this folder.
export SLURM_CONF=$CONF
${PREFIX:+PATH=$PREFIX/bin:$PREFIX/sbin:\$PATH}
case :\$PATH: in *:/usr/sbin:*) ;; *) export PATH=\$PATH:/usr/sbin ;; esac
ENVIRONMENT
}
