/**
 * File systems that SQLite cannot keep a ledger on, by the numbers that Linux knows them by.
 *
 * A write-ahead log needs memory that all processes see at once, and locks that are locks: over a network there is neither.
 * What a file system in memory holds is gone when the machine starts again.
 *
 * @see https://www.sqlite.org/wal.html
 * @since 0.1.0
 */

/**
 * What is known of a file system: processes of other machines may write to it, it forgets, or nothing speaks against it.
 *
 * @category models
 * @since 0.1.0
 */
export type FileSystemKind =
  | { readonly _tag: "Network"; readonly name: string }
  | { readonly _tag: "Volatile"; readonly name: string }
  | { readonly _tag: "Unsuspicious" }

const network: { readonly [type: number]: string } = {
  0x6969: "NFS",
  0x517B: "SMB",
  0xFF534D42: "CIFS",
  0xFE534D42: "SMB",
  0x01021997: "9P",
  // Most of what people mount with it is elsewhere (sshfs, s3fs, rclone, virtiofs), and one number stands for all.
  0x65735546: "FUSE",
  0x5346414F: "AFS",
  0x6B414653: "AFS",
  0x73757245: "Coda",
  0x564C: "NCP",
  0x00C36400: "Ceph",
  0x0BD00BD0: "Lustre",
  0x47504653: "GPFS",
  0x19830326: "BeeGFS",
  0xAAD7AAEA: "PanFS",
  0x20030528: "OrangeFS",
  0x013111A8: "IBRIX",
  0xBEEFDEAD: "StorNext",
  0x01161970: "GFS2",
  0x7461636F: "OCFS2",
  0x61636673: "ACFS",
  // Folders that a virtual machine shares with its host.
  0x786F4256: "a VirtualBox shared folder",
  0xBACBACBC: "a VMware shared folder",
  0x7C7C6673: "a Parallels shared folder"
}

const volatile: { readonly [type: number]: string } = {
  0x01021994: "tmpfs",
  0x858458F6: "ramfs"
}

/**
 * What `statfs` says of the place of a file. The numbers are those of Linux: of other systems nothing is known.
 *
 * @category getters
 * @since 0.1.0
 */
export const kindOf = (platform: string, type: number): FileSystemKind => {
  if (platform !== "linux") return { _tag: "Unsuspicious" }
  // Where a long has 32 bits, the high numbers come as negative ones.
  const unsigned = type >>> 0
  const elsewhere = network[unsigned]
  if (elsewhere !== undefined) return { _tag: "Network", name: elsewhere }
  const forgets = volatile[unsigned]
  return forgets === undefined ? { _tag: "Unsuspicious" } : { _tag: "Volatile", name: forgets }
}
