;; SPDX-License-Identifier: MIT
;; calls.scm - files, pipes, child processes and threads while the heap does not fit
(use-modules (srfi srfi-1) (ice-9 rdelim) (ice-9 popen) (ice-9 threads) (ice-9 binary-ports) (rnrs bytevectors))

(define junk (map (lambda (i) (make-vector 1000 i)) (iota 3000)))
(define (first-line command)
  (let* ((port (open-input-pipe command))
         (line (read-line port)))
    (close-pipe port)
    line))

(display (first-line "echo from a child")) (newline)
(display (par-map (lambda (x) (apply + (iota (* 1000 x)))) (iota 12))) (newline)
(define port (mkstemp! (string-copy "/tmp/hmm-calls-XXXXXX")))
(define name (port-filename port))
(define bytes (make-bytevector 20000000 7))
(put-bytevector port bytes)
(close-port port)
(define again (call-with-input-file name get-bytevector-all))
(delete-file name)
(display (equal? bytes again)) (newline)
(display (fold + 0 (map (lambda (v) (vector-ref v 3)) junk))) (newline)
