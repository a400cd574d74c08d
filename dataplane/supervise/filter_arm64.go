// SPDX-License-Identifier: Apache-2.0

package supervise

const auditArch = 0xc00000b7 // AUDIT_ARCH_AARCH64, linux/audit.h
