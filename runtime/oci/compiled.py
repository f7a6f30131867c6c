"""Compiled from runtime/oci/schema by build-aux/compile_schema.py; do not edit. See runtime/oci/validate.py."""

from __future__ import annotations
import re
from collections.abc import Callable
from typing import Any

STR = {str}
C0 = re.compile("^1\\.[0-9]+\\.[0-9]+([-+].*)?$").search
C1 = re.compile("^CAP_[A-Z0-9_]+$").search
C2 = re.compile("^RLIMIT_[A-Z]+$").search
C3 = frozenset(
    (
        "SCHED_OTHER",
        "SCHED_FIFO",
        "SCHED_RR",
        "SCHED_BATCH",
        "SCHED_ISO",
        "SCHED_IDLE",
        "SCHED_DEADLINE",
    )
)
C4 = frozenset(
    (
        "IOPRIO_CLASS_RT",
        "IOPRIO_CLASS_BE",
        "IOPRIO_CLASS_IDLE",
    )
)
C5 = frozenset(
    (
        "mount",
        "pid",
        "network",
        "uts",
        "ipc",
        "user",
        "cgroup",
        "time",
    )
)
C6 = frozenset(
    (
        "c",
        "b",
        "u",
        "p",
    )
)
C7 = frozenset(
    (
        "c",
        "b",
        "a",
    )
)
C8 = re.compile("^[rwm]{0,3}$").search
C9 = frozenset(
    (
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
    )
)
C10 = re.compile("^SCMP_ARCH_[A-Z0-9_]+$").search
C11 = frozenset(
    (
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    )
)
C12 = frozenset(
    (
        "shared",
        "slave",
        "private",
        "unbindable",
        "rshared",
        "rslave",
        "rprivate",
        "runbindable",
    )
)
C13 = frozenset(
    (
        "LINUX",
        "LINUX32",
    )
)
C14 = re.compile("^MPOL_[A-Z_]+$").search
C15 = frozenset(
    (
        "creating",
        "created",
        "running",
        "paused",
        "stopped",
    )
)


def is_config(x: Any) -> bool:
    return bool(type(x) is dict and _members0(x))


def _item1(x: Any) -> bool:
    return bool(type(x) is str and C0(x))


def _process(x: Any) -> bool:
    return bool(type(x) is dict and _members2(x))


def _item3(x: Any) -> bool:
    return bool(type(x) is bool)


def _item4(x: Any) -> bool:
    return bool(type(x) is dict and _members5(x))


def _uint16(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 65535)


def _members5(o: dict[str, Any]) -> bool:
    if not ("height" in o and "width" in o):
        return False
    if not (_uint16(o["height"])):
        return False
    if not (_uint16(o["width"])):
        return False
    return True


def _item6(x: Any) -> bool:
    return bool(type(x) is dict and _members7(x))


def _id(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4294967294)


def _item8(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 511)


def _item9(x: Any) -> bool:
    return bool(type(x) is list and all(map(_id, x)))


def _item10(x: Any) -> bool:
    return bool(type(x) is str)


def _members7(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS7_TABLE.keys():
        if not _MEMBERS7_TABLE[key](o[key]):
            return False
    return True


def _strings(x: Any) -> bool:
    return bool(type(x) is list and not ({*map(type, x)} - STR))


def _path(x: Any) -> bool:
    return bool(type(x) is str and len(x) >= 1 and len(x) <= 4096)


def _item11(x: Any) -> bool:
    return bool(type(x) is dict and _members12(x))


def _capabilities(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item13, x)))


def _item13(x: Any) -> bool:
    return bool(type(x) is str and C1(x))


def _members12(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS12_TABLE.keys():
        if not _MEMBERS12_TABLE[key](o[key]):
            return False
    return True


def _item14(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item15, x)))


def _item15(x: Any) -> bool:
    return bool(type(x) is dict and _members16(x))


def _uint64(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 18446744073709551615)


def _members16(o: dict[str, Any]) -> bool:
    if not ("type" in o and "soft" in o and "hard" in o):
        return False
    if not (type(o["type"]) is str and C2(o["type"])):
        return False
    if not (_uint64(o["soft"])):
        return False
    if not (_uint64(o["hard"])):
        return False
    return True


def _item17(x: Any) -> bool:
    return bool(type(x) is int and -1000 <= x <= 1000)


def _item18(x: Any) -> bool:
    return bool(type(x) is dict and _members19(x))


def _item20(x: Any) -> bool:
    return bool(type(x) is str and x in C3)


def _item21(x: Any) -> bool:
    return bool(type(x) is int and -20 <= x <= 19)


def _item22(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 99)


def _members19(o: dict[str, Any]) -> bool:
    if not ("policy" in o):
        return False
    for key in o.keys() & _MEMBERS19_TABLE.keys():
        if not _MEMBERS19_TABLE[key](o[key]):
            return False
    return True


def _item23(x: Any) -> bool:
    return bool(type(x) is dict and _members24(x))


def _members24(o: dict[str, Any]) -> bool:
    if not ("class" in o):
        return False
    if not (type(o["class"]) is str and o["class"] in C4):
        return False
    if "priority" in o and not (type(o["priority"]) is int and 0 <= o["priority"] <= 7):
        return False
    return True


def _item25(x: Any) -> bool:
    return bool(type(x) is dict and _members26(x))


def _members26(o: dict[str, Any]) -> bool:
    if "initial" in o and not (type(o["initial"]) is str):
        return False
    if "final" in o and not (type(o["final"]) is str):
        return False
    return True


def _members2(o: dict[str, Any]) -> bool:
    if not ("cwd" in o):
        return False
    for key in o.keys() & _MEMBERS2_TABLE.keys():
        if not _MEMBERS2_TABLE[key](o[key]):
            return False
    return True


def _item27(x: Any) -> bool:
    return bool(type(x) is dict and _members28(x))


def _members28(o: dict[str, Any]) -> bool:
    if not ("path" in o):
        return False
    if not (_path(o["path"])):
        return False
    if "readonly" in o and not (type(o["readonly"]) is bool):
        return False
    return True


def _item29(x: Any) -> bool:
    return bool(type(x) is list and all(map(_mount, x)))


def _mount(x: Any) -> bool:
    return bool(type(x) is dict and _members30(x))


def _idMappings(x: Any) -> bool:
    return bool(type(x) is list and all(map(_idMapping, x)))


def _idMapping(x: Any) -> bool:
    return bool(type(x) is dict and _members31(x))


def _members31(o: dict[str, Any]) -> bool:
    if not ("containerID" in o and "hostID" in o and "size" in o):
        return False
    if not (_id(o["containerID"])):
        return False
    if not (_id(o["hostID"])):
        return False
    if not (type(o["size"]) is int and 1 <= o["size"] <= 4294967295):
        return False
    return True


def _members30(o: dict[str, Any]) -> bool:
    if not ("destination" in o):
        return False
    for key in o.keys() & _MEMBERS30_TABLE.keys():
        if not _MEMBERS30_TABLE[key](o[key]):
            return False
    return True


def _item32(x: Any) -> bool:
    return bool(type(x) is dict and _members33(x))


def _hooks(x: Any) -> bool:
    return bool(type(x) is list and all(map(_hook, x)))


def _hook(x: Any) -> bool:
    return bool(type(x) is dict and _members34(x))


def _members34(o: dict[str, Any]) -> bool:
    if not ("path" in o):
        return False
    if not (_path(o["path"])):
        return False
    if "args" in o and not (_strings(o["args"])):
        return False
    if "env" in o and not (_strings(o["env"])):
        return False
    if "timeout" in o and not (type(o["timeout"]) is int and 1 <= o["timeout"] <= 2147483647):
        return False
    return True


def _members33(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS33_TABLE.keys():
        if not _MEMBERS33_TABLE[key](o[key]):
            return False
    return True


def _stringMap(x: Any) -> bool:
    return bool(type(x) is dict and not ({*map(type, x.values())} - STR))


def _linux(x: Any) -> bool:
    return bool(type(x) is dict and _members35(x))


def _item36(x: Any) -> bool:
    return bool(type(x) is list and all(map(_namespace, x)))


def _namespace(x: Any) -> bool:
    return bool(type(x) is dict and _members37(x))


def _members37(o: dict[str, Any]) -> bool:
    if not ("type" in o):
        return False
    if not (type(o["type"]) is str and o["type"] in C5):
        return False
    if "path" in o and not (type(o["path"]) is str):
        return False
    return True


def _item38(x: Any) -> bool:
    return bool(type(x) is dict and _members39(x))


def _clock(x: Any) -> bool:
    return bool(type(x) is dict and _members40(x))


def _int64(x: Any) -> bool:
    return bool(type(x) is int and -9223372036854775808 <= x <= 9223372036854775807)


def _members40(o: dict[str, Any]) -> bool:
    if "secs" in o and not (_int64(o["secs"])):
        return False
    if "nanosecs" in o and not (type(o["nanosecs"]) is int and 0 <= o["nanosecs"] <= 999999999):
        return False
    return True


def _members39(o: dict[str, Any]) -> bool:
    if "boottime" in o and not (_clock(o["boottime"])):
        return False
    if "monotonic" in o and not (_clock(o["monotonic"])):
        return False
    return True


def _item41(x: Any) -> bool:
    return bool(type(x) is list and all(map(_device, x)))


def _device(x: Any) -> bool:
    return bool(type(x) is dict and _members42(x))


def _item43(x: Any) -> bool:
    return bool(type(x) is str and x in C6)


def _deviceNumber(x: Any) -> bool:
    return bool(_int64(x))


def _item44(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4095)


def _members42(o: dict[str, Any]) -> bool:
    if not ("type" in o and "path" in o):
        return False
    for key in o.keys() & _MEMBERS42_TABLE.keys():
        if not _MEMBERS42_TABLE[key](o[key]):
            return False
    return True


def _item45(x: Any) -> bool:
    return bool(type(x) is dict and all(map(_item46, x.values())))


def _item46(x: Any) -> bool:
    return bool(type(x) is dict and _members47(x))


def _members47(o: dict[str, Any]) -> bool:
    if "name" in o and not (type(o["name"]) is str and len(o["name"]) >= 1 and len(o["name"]) <= 15):
        return False
    return True


def _resources(x: Any) -> bool:
    return bool(type(x) is dict and _members48(x))


def _item49(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item50, x)))


def _item50(x: Any) -> bool:
    return bool(type(x) is dict and _members51(x))


def _item52(x: Any) -> bool:
    return bool(type(x) is str and x in C7)


def _item53(x: Any) -> bool:
    return bool(type(x) is str and C8(x))


def _members51(o: dict[str, Any]) -> bool:
    if not ("allow" in o):
        return False
    for key in o.keys() & _MEMBERS51_TABLE.keys():
        if not _MEMBERS51_TABLE[key](o[key]):
            return False
    return True


def _item54(x: Any) -> bool:
    return bool(type(x) is dict and _members55(x))


def _members55(o: dict[str, Any]) -> bool:
    if "limit" in o and not (_int64(o["limit"])):
        return False
    return True


def _item56(x: Any) -> bool:
    return bool(type(x) is dict and _members57(x))


def _item58(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item59, x)))


def _item59(x: Any) -> bool:
    return bool(type(x) is dict and _members60(x))


def _members60(o: dict[str, Any]) -> bool:
    if not ("major" in o and "minor" in o):
        return False
    if not (_deviceNumber(o["major"])):
        return False
    if not (_deviceNumber(o["minor"])):
        return False
    if "weight" in o and not (_uint16(o["weight"])):
        return False
    if "leafWeight" in o and not (_uint16(o["leafWeight"])):
        return False
    return True


def _throttle(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item61, x)))


def _item61(x: Any) -> bool:
    return bool(type(x) is dict and _members62(x))


def _members62(o: dict[str, Any]) -> bool:
    if not ("major" in o and "minor" in o and "rate" in o):
        return False
    if not (_deviceNumber(o["major"])):
        return False
    if not (_deviceNumber(o["minor"])):
        return False
    if not (_uint64(o["rate"])):
        return False
    return True


def _members57(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS57_TABLE.keys():
        if not _MEMBERS57_TABLE[key](o[key]):
            return False
    return True


def _item63(x: Any) -> bool:
    return bool(type(x) is dict and _members64(x))


def _members64(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS64_TABLE.keys():
        if not _MEMBERS64_TABLE[key](o[key]):
            return False
    return True


def _item65(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item66, x)))


def _item66(x: Any) -> bool:
    return bool(type(x) is dict and _members67(x))


def _members67(o: dict[str, Any]) -> bool:
    if not ("pageSize" in o and "limit" in o):
        return False
    if not (type(o["pageSize"]) is str):
        return False
    if not (_uint64(o["limit"])):
        return False
    return True


def _item68(x: Any) -> bool:
    return bool(type(x) is dict and _members69(x))


def _members69(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS69_TABLE.keys():
        if not _MEMBERS69_TABLE[key](o[key]):
            return False
    return True


def _item70(x: Any) -> bool:
    return bool(type(x) is dict and _members71(x))


def _uint32(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4294967295)


def _item72(x: Any) -> bool:
    return bool(type(x) is dict and _members73(x))


def _members73(o: dict[str, Any]) -> bool:
    if not ("name" in o and "priority" in o):
        return False
    if not (type(o["name"]) is str):
        return False
    if not (_uint32(o["priority"])):
        return False
    return True


def _members71(o: dict[str, Any]) -> bool:
    if "classID" in o and not (_uint32(o["classID"])):
        return False
    if "priorities" in o and not (type(o["priorities"]) is list and all(map(_item72, o["priorities"]))):
        return False
    return True


def _item74(x: Any) -> bool:
    return bool(type(x) is dict and all(map(_item75, x.values())))


def _item75(x: Any) -> bool:
    return bool(type(x) is dict and _members76(x))


def _members76(o: dict[str, Any]) -> bool:
    if "hcaHandles" in o and not (_uint32(o["hcaHandles"])):
        return False
    if "hcaObjects" in o and not (_uint32(o["hcaObjects"])):
        return False
    return True


def _members48(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS48_TABLE.keys():
        if not _MEMBERS48_TABLE[key](o[key]):
            return False
    return True


def _item77(x: Any) -> bool:
    return bool(type(x) is dict and _members78(x))


def _members78(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS78_TABLE.keys():
        if not _MEMBERS78_TABLE[key](o[key]):
            return False
    return True


def _seccomp(x: Any) -> bool:
    return bool(type(x) is dict and _members79(x))


def _seccompAction(x: Any) -> bool:
    return bool(type(x) is str and x in C9)


def _item80(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item81, x)))


def _item81(x: Any) -> bool:
    return bool(type(x) is str and C10(x))


def _item82(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item83, x)))


def _item83(x: Any) -> bool:
    return bool(type(x) is dict and _members84(x))


def _item85(x: Any) -> bool:
    return bool(type(x) is dict and _members86(x))


def _members86(o: dict[str, Any]) -> bool:
    if not ("index" in o and "value" in o and "op" in o):
        return False
    if not (type(o["index"]) is int and 0 <= o["index"] <= 5):
        return False
    if not (_uint64(o["value"])):
        return False
    if "valueTwo" in o and not (_uint64(o["valueTwo"])):
        return False
    if not (type(o["op"]) is str and o["op"] in C11):
        return False
    return True


def _members84(o: dict[str, Any]) -> bool:
    if not ("names" in o and "action" in o):
        return False
    if not (type(o["names"]) is list and len(o["names"]) >= 1 and not ({*map(type, o["names"])} - STR)):
        return False
    if not (_seccompAction(o["action"])):
        return False
    if "errnoRet" in o and not (_uint32(o["errnoRet"])):
        return False
    if "args" in o and not (type(o["args"]) is list and all(map(_item85, o["args"]))):
        return False
    return True


def _members79(o: dict[str, Any]) -> bool:
    if not ("defaultAction" in o):
        return False
    for key in o.keys() & _MEMBERS79_TABLE.keys():
        if not _MEMBERS79_TABLE[key](o[key]):
            return False
    return True


def _item87(x: Any) -> bool:
    return bool(type(x) is str and x in C12)


def _item88(x: Any) -> bool:
    return bool(type(x) is dict and _members89(x))


def _members89(o: dict[str, Any]) -> bool:
    if not ("domain" in o):
        return False
    if not (type(o["domain"]) is str and o["domain"] in C13):
        return False
    if "flags" in o and not (_strings(o["flags"])):
        return False
    return True


def _item90(x: Any) -> bool:
    return bool(type(x) is dict and _members91(x))


def _members91(o: dict[str, Any]) -> bool:
    if not ("mode" in o):
        return False
    if not (type(o["mode"]) is str and C14(o["mode"])):
        return False
    if "nodes" in o and not (type(o["nodes"]) is str):
        return False
    if "flags" in o and not (_strings(o["flags"])):
        return False
    return True


def _members35(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS35_TABLE.keys():
        if not _MEMBERS35_TABLE[key](o[key]):
            return False
    return True


def _members0(o: dict[str, Any]) -> bool:
    if not ("ociVersion" in o):
        return False
    for key in o.keys() & _MEMBERS0_TABLE.keys():
        if not _MEMBERS0_TABLE[key](o[key]):
            return False
    return True


def is_features(x: Any) -> bool:
    return bool(type(x) is dict and _members92(x))


def _item93(x: Any) -> bool:
    return bool(type(x) is dict and _members94(x))


def _item95(x: Any) -> bool:
    return bool(type(x) is dict and _members96(x))


def _members96(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS96_TABLE.keys():
        if not _MEMBERS96_TABLE[key](o[key]):
            return False
    return True


def _item97(x: Any) -> bool:
    return bool(type(x) is dict and _members98(x))


def _members98(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS98_TABLE.keys():
        if not _MEMBERS98_TABLE[key](o[key]):
            return False
    return True


def _item99(x: Any) -> bool:
    return bool(type(x) is dict and _members100(x))


def _members100(o: dict[str, Any]) -> bool:
    if "enabled" in o and not (type(o["enabled"]) is bool):
        return False
    return True


def _item101(x: Any) -> bool:
    return bool(type(x) is dict and _members102(x))


def _members102(o: dict[str, Any]) -> bool:
    if "enabled" in o and not (type(o["enabled"]) is bool):
        return False
    if "schemata" in o and not (type(o["schemata"]) is bool):
        return False
    if "enableMonitoring" in o and not (type(o["enableMonitoring"]) is bool):
        return False
    return True


def _item103(x: Any) -> bool:
    return bool(type(x) is dict and _members104(x))


def _members104(o: dict[str, Any]) -> bool:
    if "idmap" in o and not (type(o["idmap"]) is dict and _members100(o["idmap"])):
        return False
    return True


def _item105(x: Any) -> bool:
    return bool(type(x) is dict and _members106(x))


def _members106(o: dict[str, Any]) -> bool:
    if "modes" in o and not (_strings(o["modes"])):
        return False
    if "flags" in o and not (_strings(o["flags"])):
        return False
    return True


def _members94(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS94_TABLE.keys():
        if not _MEMBERS94_TABLE[key](o[key]):
            return False
    return True


def _members92(o: dict[str, Any]) -> bool:
    if not ("ociVersionMin" in o and "ociVersionMax" in o):
        return False
    for key in o.keys() & _MEMBERS92_TABLE.keys():
        if not _MEMBERS92_TABLE[key](o[key]):
            return False
    return True


def is_process(x: Any) -> bool:
    return bool(_process(x))


def is_resources(x: Any) -> bool:
    return bool(_resources(x))


def is_state(x: Any) -> bool:
    return bool(type(x) is dict and _members107(x))


def _item108(x: Any) -> bool:
    return bool(type(x) is str and len(x) >= 1)


def _item109(x: Any) -> bool:
    return bool(type(x) is str and x in C15)


def _item110(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4194304)


def _members107(o: dict[str, Any]) -> bool:
    if not ("ociVersion" in o and "id" in o and "status" in o and "bundle" in o):
        return False
    for key in o.keys() & _MEMBERS107_TABLE.keys():
        if not _MEMBERS107_TABLE[key](o[key]):
            return False
    return True


_MEMBERS7_TABLE: dict[str, Callable[[Any], bool]] = {
    "uid": _id,
    "gid": _id,
    "umask": _item8,
    "additionalGids": _item9,
    "username": _item10,
}
_MEMBERS12_TABLE: dict[str, Callable[[Any], bool]] = {
    "bounding": _capabilities,
    "effective": _capabilities,
    "permitted": _capabilities,
    "inheritable": _capabilities,
    "ambient": _capabilities,
}
_MEMBERS19_TABLE: dict[str, Callable[[Any], bool]] = {
    "policy": _item20,
    "nice": _item21,
    "priority": _item22,
    "flags": _strings,
    "runtime": _uint64,
    "deadline": _uint64,
    "period": _uint64,
}
_MEMBERS2_TABLE: dict[str, Callable[[Any], bool]] = {
    "terminal": _item3,
    "consoleSize": _item4,
    "user": _item6,
    "args": _strings,
    "commandLine": _item10,
    "env": _strings,
    "cwd": _path,
    "capabilities": _item11,
    "rlimits": _item14,
    "noNewPrivileges": _item3,
    "apparmorProfile": _item10,
    "selinuxLabel": _item10,
    "oomScoreAdj": _item17,
    "scheduler": _item18,
    "ioPriority": _item23,
    "execCPUAffinity": _item25,
}
_MEMBERS30_TABLE: dict[str, Callable[[Any], bool]] = {
    "destination": _path,
    "type": _item10,
    "source": _item10,
    "options": _strings,
    "uidMappings": _idMappings,
    "gidMappings": _idMappings,
}
_MEMBERS33_TABLE: dict[str, Callable[[Any], bool]] = {
    "prestart": _hooks,
    "createRuntime": _hooks,
    "createContainer": _hooks,
    "startContainer": _hooks,
    "poststart": _hooks,
    "poststop": _hooks,
}
_MEMBERS42_TABLE: dict[str, Callable[[Any], bool]] = {
    "type": _item43,
    "path": _path,
    "major": _deviceNumber,
    "minor": _deviceNumber,
    "fileMode": _item44,
    "uid": _id,
    "gid": _id,
}
_MEMBERS51_TABLE: dict[str, Callable[[Any], bool]] = {
    "allow": _item3,
    "type": _item52,
    "major": _int64,
    "minor": _int64,
    "access": _item53,
}
_MEMBERS57_TABLE: dict[str, Callable[[Any], bool]] = {
    "weight": _uint16,
    "leafWeight": _uint16,
    "weightDevice": _item58,
    "throttleReadBpsDevice": _throttle,
    "throttleWriteBpsDevice": _throttle,
    "throttleReadIOPSDevice": _throttle,
    "throttleWriteIOPSDevice": _throttle,
}
_MEMBERS64_TABLE: dict[str, Callable[[Any], bool]] = {
    "cpus": _item10,
    "mems": _item10,
    "period": _uint64,
    "quota": _int64,
    "burst": _uint64,
    "realtimePeriod": _uint64,
    "realtimeRuntime": _int64,
    "shares": _uint64,
    "idle": _int64,
}
_MEMBERS69_TABLE: dict[str, Callable[[Any], bool]] = {
    "kernel": _int64,
    "kernelTCP": _int64,
    "limit": _int64,
    "reservation": _int64,
    "swap": _int64,
    "swappiness": _uint64,
    "disableOOMKiller": _item3,
    "useHierarchy": _item3,
    "checkBeforeUpdate": _item3,
}
_MEMBERS48_TABLE: dict[str, Callable[[Any], bool]] = {
    "unified": _stringMap,
    "devices": _item49,
    "pids": _item54,
    "blockIO": _item56,
    "cpu": _item63,
    "hugepageLimits": _item65,
    "memory": _item68,
    "network": _item70,
    "rdma": _item74,
}
_MEMBERS78_TABLE: dict[str, Callable[[Any], bool]] = {
    "closID": _item10,
    "schemata": _strings,
    "l3CacheSchema": _item10,
    "memBwSchema": _item10,
    "enableCMT": _item3,
    "enableMBM": _item3,
    "enableMonitoring": _item3,
}
_MEMBERS79_TABLE: dict[str, Callable[[Any], bool]] = {
    "defaultAction": _seccompAction,
    "defaultErrnoRet": _uint32,
    "flags": _strings,
    "listenerPath": _item10,
    "listenerMetadata": _item10,
    "architectures": _item80,
    "syscalls": _item82,
}
_MEMBERS35_TABLE: dict[str, Callable[[Any], bool]] = {
    "namespaces": _item36,
    "uidMappings": _idMappings,
    "gidMappings": _idMappings,
    "timeOffsets": _item38,
    "devices": _item41,
    "netDevices": _item45,
    "cgroupsPath": _item10,
    "resources": _resources,
    "intelRdt": _item77,
    "sysctl": _stringMap,
    "seccomp": _seccomp,
    "rootfsPropagation": _item87,
    "maskedPaths": _strings,
    "readonlyPaths": _strings,
    "mountLabel": _item10,
    "personality": _item88,
    "memoryPolicy": _item90,
}
_MEMBERS0_TABLE: dict[str, Callable[[Any], bool]] = {
    "ociVersion": _item1,
    "process": _process,
    "root": _item27,
    "hostname": _item10,
    "domainname": _item10,
    "mounts": _item29,
    "hooks": _item32,
    "annotations": _stringMap,
    "linux": _linux,
}
_MEMBERS96_TABLE: dict[str, Callable[[Any], bool]] = {
    "v1": _item3,
    "v2": _item3,
    "systemd": _item3,
    "systemdUser": _item3,
    "rdma": _item3,
}
_MEMBERS98_TABLE: dict[str, Callable[[Any], bool]] = {
    "enabled": _item3,
    "actions": _strings,
    "operators": _strings,
    "archs": _strings,
    "knownFlags": _strings,
    "supportedFlags": _strings,
}
_MEMBERS94_TABLE: dict[str, Callable[[Any], bool]] = {
    "namespaces": _strings,
    "capabilities": _strings,
    "cgroup": _item95,
    "seccomp": _item97,
    "apparmor": _item99,
    "selinux": _item99,
    "intelRdt": _item101,
    "mountExtensions": _item103,
    "netDevices": _item99,
    "memoryPolicy": _item105,
}
_MEMBERS92_TABLE: dict[str, Callable[[Any], bool]] = {
    "ociVersionMin": _item10,
    "ociVersionMax": _item10,
    "hooks": _strings,
    "mountOptions": _strings,
    "linux": _item93,
    "annotations": _stringMap,
    "potentiallyUnsafeConfigAnnotations": _strings,
}
_MEMBERS107_TABLE: dict[str, Callable[[Any], bool]] = {
    "ociVersion": _item1,
    "id": _item108,
    "status": _item109,
    "pid": _item110,
    "bundle": _path,
    "annotations": _stringMap,
}
