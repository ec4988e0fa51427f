/** The statements of a batch, by their text: what a test pauses before, counts or takes out. */
export const statements = {
  /** Reads the keys of the next due rows, without a lock. */
  look: /limit \$\d+$/,
  /** Reads the keys of all due rows. */
  list: /order by t\.\w+, t\.\w+$/,
  /** Locks the rows of a batch. */
  lock: /skip locked$/,
  /** Waits for the lock of one row that was passed over before. */
  retry: /for (no key )?update of t$/,
  /** Looks for acknowledgements, now that the instructions are locked. */
  lookAgain:
    /^select t\.\w+::text as key\s+from "public"\."agentinstruction" t\s+where (?!t\.ctid operator\(pg_catalog\.>=\))(?!.*for (no key )?update)/s,
  /** Deletes those that have none. */
  deleteInstructions: /^delete from "public"\."agentinstruction" /,
  archiveInstructions: /^update "public"\."agentinstruction" /,
  closeConnections: /^update "public"\."agentconnection" /,
  archiveSessions: /^update "public"\."agentsession" /,
  deleteAcknowledgements: /^delete from "public"\."agentinstructionacknowledgement" /,
} as const;
