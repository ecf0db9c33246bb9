declare module "fs-native-extensions" {
  interface LockOptions {
    shared?: boolean;
  }
  const native: {
    tryLock(fd: number, options?: LockOptions): boolean;
    waitForLock(fd: number, options?: LockOptions): Promise<void>;
    unlock(fd: number): void;
    trim(fd: number, offset: number, length: number): Promise<void>;
    sparse(fd: number): Promise<void>;
    getAttr(fd: number, name: string): Promise<Buffer | null>;
    setAttr(fd: number, name: string, value: string | Buffer): Promise<void>;
    removeAttr(fd: number, name: string): Promise<void>;
    listAttrs(fd: number): Promise<string[]>;
    swap(from: string, to: string): Promise<void>;
  };
  export default native;
}
