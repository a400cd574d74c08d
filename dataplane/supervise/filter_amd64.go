// SPDX-License-Identifier: Apache-2.0

package supervise

const auditArch = 0xc000003e // AUDIT_ARCH_X86_64, linux/audit.h
